import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ImageFile, type PlainValue } from '../../src/interop/index.ts';
import { unpackCriuImages } from '../cases/criu/unpack.ts';
import { lacking } from './programs.ts';

const CRIT = '/usr/bin/crit';

/** Images that have a magic, everywhere below a directory. */
function imagesBelow(directory: string): string[] {
  return (
    readdirSync(directory, { recursive: true, encoding: 'utf8' })
      .filter((name) => /(?:\.img|stats-dump|stats-restore|irmap-cache)$/.test(name))
      .filter((name) => !/pages-\d+\.img$/.test(name))
      // crit takes all segments behind the first for the content of the first.
      .filter((name) => !name.includes('ipcns-shm'))
      .map((name) => join(directory, name))
  );
}

/** As crit decodes it, with numbers as text, for JSON.parse would round them, and without what lies behind messages. */
function critDecode(path: string): object {
  const text = execFileSync(CRIT, ['decode', '-i', path], { encoding: 'utf8', maxBuffer: 1 << 28 });
  const asText = text.replace(/(?<=[[:,] ?)-?\d+(?=[,}\]])/g, '"$&"');
  return JSON.parse(asText, (field, value) => {
    if (field === 'extra') return undefined;
    // base64 in lines
    return typeof value === 'string' ? value.replaceAll('\n', '') : value;
  });
}

/** What crit of 3.17 calls otherwise, or knows nothing of. */
function asCrit(value: PlainValue): unknown {
  if (typeof value === 'number') return String(value);
  if (typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(asCrit);
  return Object.fromEntries(
    Object.entries(value).map(([field, inner]) => [
      field === 'compat_nr_pages' ? 'nr_pages' : field,
      asCrit(inner),
    ]),
  );
}

describe.skipIf(lacking(existsSync(CRIT)))('ckpt decode', () => {
  const directories: string[] = [];
  afterAll(() => {
    for (const directory of directories) rmSync(directory, { recursive: true });
  });

  it.each([
    ['braid', 'braid/4'],
    ['zoo', 'zoo'],
  ] as const)('says of all images of %s what crit does', async (archive, dump) => {
    const directory = unpackCriuImages(archive);
    directories.push(directory);
    for (const path of imagesBelow(join(directory, dump))) {
      const image = await ImageFile.open(path);
      const entries: unknown[] = [];
      for await (const { message } of image.entries()) entries.push(asCrit(message));
      expect({ path, magic: image.kind.name, entries }).toEqual({ path, ...critDecode(path) });
    }
  });
});
