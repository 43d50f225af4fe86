import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readTar } from '../../../../src/interop/criu/archive/tar-reader.ts';
import { type MemberToWrite, writeTar } from '../../../../src/interop/criu/archive/tar-writer.ts';
import { collected, inPieces, paxMember, type RawMember, rawMember, rawTar } from './tar-tools.ts';

const TIME = new Date('2026-01-02T03:04:05Z');

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ckpt-tar-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function listed(bytes: Uint8Array, pieceBytes?: number) {
  const members = [];
  for await (const member of readTar(inPieces(bytes, pieceBytes), 'a.tar')) {
    const content = await collected(member.content());
    const { name, kind, mode, linkTarget } = member;
    members.push({ name, kind, mode, linkTarget, content: content.toString('latin1') });
  }
  return members;
}

const read = (...members: RawMember[]) => listed(rawTar(members));

describe('reading a tar', () => {
  it('gives what GNU tar put in, in each of its formats', async () => {
    const long = join('checkpoint', 'd'.repeat(90), 'e'.repeat(120));
    mkdirSync(join(folder, long), { recursive: true });
    writeFileSync(join(folder, long, 'file'), 'deep', { mode: 0o640 });
    writeFileSync(join(folder, 'checkpoint', 'größe.img'), Buffer.alloc(1300, 7), { mode: 0o600 });
    symlinkSync(`../${'t'.repeat(150)}`, join(folder, 'checkpoint', 'parent'));
    for (const format of ['gnu', 'posix']) {
      const tar = execFileSync('tar', ['-C', folder, `--format=${format}`, '--sort=name', '-cf', '-', '.']);
      for (const pieceBytes of [1, 511, 100_000]) {
        const members = await listed(tar, pieceBytes);
        expect(members.map(({ name, kind }) => `${kind} ${name}`)).toEqual([
          'directory ./',
          'directory ./checkpoint/',
          `directory ./checkpoint/${'d'.repeat(90)}/`,
          `directory ./${long}/`,
          `file ./${long}/file`,
          'file ./checkpoint/größe.img',
          'symbolic link ./checkpoint/parent',
        ]);
        expect(members[4]).toMatchObject({ mode: 0o640, content: 'deep' });
        expect(members[5]).toMatchObject({ mode: 0o600, content: '\u0007'.repeat(1300) });
        expect(members[6]).toMatchObject({ linkTarget: `../${'t'.repeat(150)}`, content: '' });
      }
    }
  });

  it('goes on to the next member whether or not the content was read', async () => {
    const tar = rawTar([
      { name: 'a', content: 'x'.repeat(2000) },
      { name: 'b', content: 'y' },
    ]);
    const names = [];
    for await (const { name } of readTar(inPieces(tar), 'a.tar')) names.push(name);
    expect(names).toEqual(['a', 'b']);
  });

  it('names what it will not treat as files', async () => {
    const kinds = await read(
      { name: 'a', type: '1', target: 'x' },
      { name: 'b', type: '3' },
      { name: 'c', type: '4' },
      { name: 'd', type: '6' },
      { name: 'e', type: 'S' },
      paxMember({ 'GNU.sparse.major': '1', 'GNU.sparse.realsize': '99999999999' }),
      { name: 'f' },
      { name: 'g', type: 'D' },
    );
    expect(kinds.map(({ kind }) => kind)).toEqual([
      'hard link',
      'character device',
      'block device',
      'FIFO',
      'sparse file',
      'sparse file',
      'member of unknown type',
    ]);
  });

  it('takes attributes with any bytes, and fields for one member only', async () => {
    const attribute: RawMember = {
      name: 'PaxHeaders/0',
      type: 'x',
      content: Buffer.from('27 SCHILY.xattr.user.a=\xff\n1\n', 'latin1'),
    };
    expect(
      await read(attribute, { name: 'a', content: '1' }, paxMember({ path: 'long' }), { name: 'b' }),
    ).toMatchObject([{ name: 'a', content: '1' }, { name: 'long' }]);
  });

  it('refuses it wherever it is cut', async () => {
    const tar = rawTar([
      paxMember({ path: 'x'.repeat(200) }),
      { name: 'a', content: 'content' },
      { name: 'b' },
    ]);
    for (let length = 0; length < tar.length; length += 128) {
      await expect(listed(tar.subarray(0, length)), `cut to ${length}`).rejects.toMatchObject({
        code: 'integrity',
        data: { file: 'a.tar' },
      });
    }
    await expect(listed(tar.subarray(0, -512))).rejects.toThrow('without the second empty block of its end');
    await expect(listed(tar.subarray(0, -1024))).rejects.toThrow('without the two empty blocks of its end');
  });

  it('refuses a flipped bit in any header', async () => {
    const tar = rawTar([{ name: 'abc', content: 'content', target: 'x' }]);
    await fc.assert(
      fc.asyncProperty(fc.nat(511), fc.nat(7), async (at, bit) => {
        const damaged = Buffer.from(tar);
        damaged[at] = damaged[at]! ^ (1 << bit);
        const outcome = await listed(damaged).catch((error: Error) => error.message);
        // Only the checksum's own terminator may differ.
        if (typeof outcome !== 'string') expect(at >= 148 && at < 156).toBe(true);
      }),
    );
  });

  it.each<[string, readonly RawMember[]]>([
    ['an extended header of 8.0 GiB', [{ name: 'x', type: 'x', declaredBytes: 2 ** 33 }]],
    ['an extended header of 1.5 MiB', [{ name: 'x', type: 'L', declaredBytes: 1.5 * 2 ** 20 }]],
    ['too many extended headers', Array.from({ length: 6 }, () => paxMember({ comment: 'x' }))],
    ['an extended header without a member', [paxMember({ path: 'x' })]],
    ['a malformed extended header', [{ name: 'x', type: 'x', content: '9 path=a\n0' }]],
    ['a malformed extended header', [{ name: 'x', type: 'x', content: '11 path=a\n' }]],
    ['a malformed extended header', [paxMember({ size: '-1' })]],
    ['a malformed extended header', [paxMember({ size: '99999999999999999999' })]],
    ['a malformed extended header', [paxMember({ path: 'a\0b' })]],
    ['a global header that changes all members', [paxMember({ path: 'x' }, 'g'), { name: 'a' }]],
    ['a member of impossible size', [{ name: 'a', edit: (header) => header.write('zzzzzzzzzzz', 124) }]],
    [
      'a header with impossible numbers',
      [{ name: 'a', edit: (header) => header.fill(0xff, 124, 136).writeUInt8(0x80, 124) }],
    ],
    ['a header of another format', [{ name: 'a', edit: (header) => header.fill(0, 257, 265) }]],
  ])('refuses %s', async (message, members) => {
    await expect(read(...members)).rejects.toThrow(message);
  });

  it('refuses what stands behind the end', async () => {
    const tar = rawTar([{ name: 'a' }]);
    expect(await listed(Buffer.concat([tar, Buffer.alloc(20_480)]))).toHaveLength(1);
    await expect(listed(Buffer.concat([tar, rawMember({ name: 'b' })]))).rejects.toThrow(
      'something behind its end',
    );
    await expect(listed(Buffer.concat([tar, Buffer.alloc(10 * 2 ** 20)]))).rejects.toThrow(
      'endless zeros behind its end',
    );
    const gap = Buffer.concat([rawMember({ name: 'a' }), Buffer.alloc(512), tar]);
    await expect(listed(gap)).rejects.toThrow('one empty block between members');
  });
});

const memberName = fc
  .array(fc.stringMatching(/^[a-zäß0-9_-]{1,60}$/), { minLength: 1, maxLength: 6 })
  .map((parts) => parts.join('/'));

const anyMember = fc.oneof(
  fc.record({
    name: memberName,
    kind: fc.constant('file' as const),
    mode: fc.nat(0o7777),
    content: fc.uint8Array({ maxLength: 2000 }),
  }),
  fc.record({
    name: memberName,
    kind: fc.constant('link' as const),
    mode: fc.nat(0o7777),
    target: fc.stringMatching(/^[a-zä./]{1,200}$/),
  }),
  fc.record({ name: memberName, kind: fc.constant('directory' as const), mode: fc.nat(0o7777) }),
);

type AnyMember = typeof anyMember extends fc.Arbitrary<infer Member> ? Member : never;

function toWrite(member: AnyMember): MemberToWrite {
  const content = 'content' in member ? member.content : new Uint8Array();
  return {
    name: member.name,
    kind: member.kind,
    mode: member.mode,
    bytes: content.length,
    ...('target' in member ? { target: member.target } : {}),
    content: () => inPieces(content, 700),
  };
}

describe('times of members', () => {
  it('are those of the headers if a file system would take them', async () => {
    const timesOf = async (...members: RawMember[]) => {
      const times = [];
      for await (const { modifiedAt } of readTar(inPieces(rawTar(members)), 'a.tar')) times.push(modifiedAt);
      return times;
    };
    const at = (octal: string): RawMember => ({ name: 'a', edit: (header) => header.write(octal, 136) });
    const huge: RawMember = {
      name: 'a',
      edit: (header) => header.fill(0x7f, 136, 148).writeUInt8(0x80, 136),
    };
    expect(await timesOf(at('15126413645\0'), at('zzz'), at('77777777777'))).toEqual([
      new Date(1_767_511_973_000),
      new Date(0),
      new Date(0),
    ]);
    await expect(timesOf(huge)).rejects.toThrow('impossible numbers');
  });
});

describe('writing a tar', () => {
  it('gives back names, kinds, modes, links and contents', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyMember, { maxLength: 5 }), async (members) => {
        const tar = await collected(writeTar(members.map(toWrite), TIME));
        expect(await listed(tar)).toEqual(
          members.map((member) => ({
            name: member.kind === 'directory' ? `${member.name}/` : member.name,
            kind: member.kind === 'link' ? 'symbolic link' : member.kind,
            mode: member.mode,
            linkTarget: 'target' in member ? member.target : '',
            content: 'content' in member ? Buffer.from(member.content).toString('latin1') : '',
          })),
        );
      }),
      { numRuns: 60 },
    );
  });

  it('is what GNU tar reads, with files of more than 8 GiB', async () => {
    const member = toWrite({
      name: 'checkpoint/pages-1.img',
      kind: 'file',
      mode: 0o600,
      content: new Uint8Array(3),
    });
    const deep = toWrite({
      name: `${'d/'.repeat(130)}ä`,
      kind: 'file',
      mode: 0o644,
      content: new Uint8Array(5),
    });
    const tar = await collected(writeTar([member, deep], TIME));
    const list = execFileSync('tar', ['--utc', '--full-time', '-tvf', '-'], {
      input: tar,
      env: { LC_ALL: 'C.UTF-8', PATH: process.env['PATH'] },
    });
    expect(list.toString().trim().split('\n')).toEqual([
      '-rw------- root/root         3 2026-01-02 03:04:05 checkpoint/pages-1.img',
      `-rw-r--r-- root/root         5 2026-01-02 03:04:05 ${'d/'.repeat(130)}ä`,
    ]);
    async function* headersOnly(): AsyncGenerator<Uint8Array> {
      yield* [];
    }
    const huge = { ...member, bytes: 9 * 2 ** 30, content: headersOnly };
    const headers = await untilError(writeTar([huge], TIME));
    for await (const { bytes } of readTar(inPieces(headers), 'a.tar')) {
      expect(bytes).toBe(9 * 2 ** 30);
      break;
    }
  });

  it('refuses content of another length than announced', async () => {
    const member = toWrite({ name: 'a', kind: 'file', mode: 0o600, content: new Uint8Array(3) });
    for (const bytes of [2, 4]) {
      await expect(collected(writeTar([{ ...member, bytes }], TIME))).rejects.toThrow(
        `a has another length than the ${bytes} bytes that were announced`,
      );
    }
  });
});

/** What a stream gives before it fails. */
async function untilError(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of stream) chunks.push(chunk);
  } catch {
    return Buffer.concat(chunks);
  }
  throw new Error('it did not fail');
}
