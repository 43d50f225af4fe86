import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBuildId } from '../../src/interop/build-id.ts';
import { standingOfKnown } from '../../src/interop/mapped-files.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'ckpt-mapped-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

const BUILD_ID = '00112233445566778899aabbccddeeff01020304';

/** A note of an ELF file. */
function note(owner: string, type: number, content: Buffer): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt32LE(owner.length + 1, 0);
  header.writeUInt32LE(content.length, 4);
  header.writeUInt32LE(type, 8);
  const padded = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
  return Buffer.concat([header, padded(Buffer.from(`${owner}\0`)), padded(content)]);
}

/** A 64-bit program of nothing but notes. */
function program(...notes: Buffer[]): Buffer {
  const [header, segment, content] = [Buffer.alloc(64), Buffer.alloc(56), Buffer.concat(notes)];
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1]);
  header.writeBigUInt64LE(64n, 32);
  header.writeUInt16LE(1, 56);
  segment.writeUInt32LE(4, 0);
  segment.writeBigUInt64LE(120n, 8);
  segment.writeBigUInt64LE(BigInt(content.length), 32);
  return Buffer.concat([header, segment, content]);
}

function put(name: string, content: Uint8Array): string {
  writeFileSync(join(directory, name), content);
  return join(directory, name);
}

const property = note('GNU', 5, Buffer.alloc(16));
const buildId = note('GNU', 3, Buffer.from(BUILD_ID, 'hex'));

describe('the build ID of a file', () => {
  it('is found behind other notes', async () => {
    expect(await readBuildId(put('one', program(property, note('Go', 3, Buffer.alloc(9)), buildId)))).toBe(
      BUILD_ID,
    );
  });

  it.each([
    ['a program without one', program(property)],
    ['text', Buffer.from('no program at all')],
    ['a 32-bit program', program(buildId).fill(1, 4, 5)],
    ['nothing', Buffer.alloc(0)],
    ['a header alone', program().subarray(0, 64)],
    ['a table that lies nowhere', program(buildId).fill(0xff, 32, 40)],
  ])('is not there: %s', async (_what, content) => {
    expect(await readBuildId(put('none', content))).toBeUndefined();
    expect(await readBuildId(directory)).toBeUndefined();
    expect(await readBuildId(join(directory, 'missing'))).toBeUndefined();
  });

  it.skipIf(spawnSync('readelf', ['--version']).status !== 0)('is the one that readelf prints', async () => {
    const printed = execFileSync('readelf', ['-n', process.execPath], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    expect(await readBuildId(process.execPath)).toBe(/Build ID: ([0-9a-f]+)/.exec(printed)?.[1]);
  });
});

describe('a file that CRIU knew', () => {
  it('is the same by its build ID, whatever its size', async () => {
    const path = put('known', program(buildId));
    const known = { path, sizeBytes: 1, buildId: BUILD_ID };
    expect(await standingOfKnown(known)).toBe('same');
    expect(await standingOfKnown({ ...known, buildId: `${BUILD_ID.slice(2)}ff` })).toBe('changed');
    expect(await standingOfKnown({ ...known, path: `${path}-gone` })).toBe('missing');
  });

  it('may be the same if only its size is known', async () => {
    const path = put('data', Buffer.alloc(100));
    const known = { path, sizeBytes: statSync(path).size, buildId: null };
    expect(await standingOfKnown(known)).toBe('unknown');
    truncateSync(path, 99);
    expect(await standingOfKnown(known)).toBe('changed');
  });
});
