import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { IntegrityError, StoreVersionError } from '../../src/core/index.ts';
import {
  decodeManifest,
  decodePruning,
  decodeStoreFile,
  encodeManifest,
  encodePruning,
  encodeStoreFile,
  type Manifest,
} from '../../src/image/index.ts';

const BLOB = { bytes: 300_000, sha256: 'ab'.repeat(32), pack: 4, firstBlock: 9, blockCount: 2 };

const MANIFEST: Manifest = {
  number: 4,
  kind: 'delta',
  parent: 3,
  preDump: false,
  createdAt: '2026-01-02T03:04:05.678Z',
  target: { kind: 'live', name: '1234 (redis-server)', fingerprint: 'boot/77/exe' },
  pack: 4,
  packs: [1, 4],
  codec: { name: 'zstd', level: 3 },
  tracker: 'soft-dirty',
  processes: [
    {
      pid: 1234,
      parentPid: 0,
      name: 'redis-server',
      vmas: [
        {
          startPage: 0x55d0c0de0,
          endPage: 0x55d0c0df0,
          read: true,
          write: true,
          execute: false,
          shared: false,
          offsetPages: 2,
          deviceMajor: 0xfe,
          deviceMinor: 1,
          inode: 393_229,
          pathname: '/usr/bin/redis\\040server "x" ü',
          flags: ['rd', 'wr', 'mr'],
        },
        {
          startPage: 0xfffffffffffff - 16,
          endPage: 0xfffffffffffff,
          read: false,
          write: false,
          execute: true,
          shared: true,
          offsetPages: 0,
          deviceMajor: 0,
          deviceMinor: 0,
          inode: 0,
          pathname: '',
          flags: [],
        },
      ],
      index: { root: BLOB, segments: 3, zeroPages: 4, dataPages: 5 },
      trackerState: { ...BLOB, bytes: 0, blockCount: 0 },
    },
  ],
  state: { format: 'live-1', summary: { threads: 4 }, content: BLOB },
  pages: { mapped: 32, present: 9, scanned: 32, dirty: 6, zero: 4, shared: 1, written: 4 },
  bytes: { memory: 36_864, stored: 9000 },
  microseconds: { freeze: 10, scan: 11, read: 12, total: 1300 },
  warnings: [{ pid: 1234, startPage: 0x55d0c0de0, endPage: 0x55d0c0de1, reason: 'could not be read' }],
  memoryDigest: 'cd'.repeat(32),
};

/** One that says all that version 2 can say. */
const IMPORTED: Manifest = {
  ...MANIFEST,
  target: { kind: 'criu', name: 'redis-server', fingerprint: 'f' },
  notRestorable: 'deduplicated',
  files: { format: 'ckpt-criu-1', listing: BLOB, content: { ...BLOB, bytes: 0, blockCount: 0 } },
  processes: [
    ...MANIFEST.processes,
    { ...MANIFEST.processes[0]!, pid: 4_194_304, sharedMemory: '18446744073709551615' },
  ],
};

/** A manifest whose text was changed by somebody who also sealed it anew. */
function resealed(change: (text: string) => string, manifest = MANIFEST): string {
  const text = change(encodeManifest(manifest));
  const body = text.slice(0, text.indexOf(',\n  "seal"'));
  return `${body},\n  "seal": "${createHash('sha256').update(body).digest('hex')}"\n}\n`;
}

describe('a manifest', () => {
  it('comes back as it was written', () => {
    expect(decodeManifest(encodeManifest(MANIFEST), 4)).toEqual(MANIFEST);
    const base: Manifest = {
      ...MANIFEST,
      kind: 'base',
      parent: null,
      state: null,
      processes: [],
      warnings: [],
    };
    expect(decodeManifest(encodeManifest(base), 4)).toEqual(base);
  });

  it('has version 2 if it says what a reader of version 1 would lose, and only then', () => {
    expect(encodeManifest(MANIFEST)).toContain('"version": 1,');
    expect(encodeManifest(IMPORTED)).toContain('"version": 2,');
    expect(decodeManifest(encodeManifest(IMPORTED), 4)).toEqual(IMPORTED);
    const { files, target, processes } = IMPORTED;
    const parts: Partial<Manifest>[] = [{ target }, { processes }, { notRestorable: 'pages-only' }];
    if (files !== undefined) parts.push({ files });
    for (const some of parts) {
      const manifest: Manifest = { ...MANIFEST, ...some };
      expect(encodeManifest(manifest)).toContain('"version": 2,');
      expect(decodeManifest(encodeManifest(manifest), 4)).toEqual(manifest);
    }
  });

  it.each([
    ['"pid": 4194304', '"pid": 4194303', 'processes[1].pid must be an integer of at least 4194304'],
    ['"184467', '"x184467', 'processes[1].sharedMemory must be a decimal number'],
    ['"deduplicated"', '"odd"', 'notRestorable must be one of pages-only, deduplicated'],
    ['"criu"', '"docker"', 'target.kind must be one of simulated, live, criu'],
    ['"format": "ckpt-criu-1"', '"format": 1', 'files.format must be'],
  ])('of version 2 with %s changed to %s is refused by the name of the field', (from, to, message) => {
    expect(encodeManifest(IMPORTED)).toContain(from);
    const text = resealed((whole) => whole.replace(from, to), IMPORTED);
    expect(() => decodeManifest(text, 4)).toThrow(message);
  });

  it('can be read by people: addresses, protections and names as the kernel prints them', () => {
    const text = encodeManifest(MANIFEST);
    for (const expected of [
      '"0x55d0c0de0000"',
      '"rw-p"',
      '"--xs"',
      '"rd wr mr"',
      '"fe:1"',
      '"kind": "delta"',
    ]) {
      expect(text).toContain(expected);
    }
  });

  it('is refused if one character is changed, removed or added', () => {
    const text = encodeManifest(MANIFEST);
    for (let at = 0; at < text.length; at++) {
      const changed = text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ 1) + text.slice(at + 1);
      expect(() => decodeManifest(changed, 4)).toThrow(/is damaged|has format version/);
      expect(() => decodeManifest(text.slice(0, at) + text.slice(at + 1), 4)).toThrow(
        /is damaged|has format version/,
      );
    }
    expect(() => decodeManifest(`${text}\n`, 4)).toThrow('its seal does not match');
    expect(() => decodeManifest(text.replace('"preDump": false', '"preDump":  false'), 4)).toThrow(
      'its seal',
    );
  });

  it('is refused under another number, and in another version', () => {
    expect(() => decodeManifest(encodeManifest(MANIFEST), 5)).toThrow(
      'number must be 5, as its file name says',
    );
    const newer = resealed((text) => text.replace('"version": 1', '"version": 3'));
    expect(() => decodeManifest(newer, 4)).toThrow(StoreVersionError);
  });

  it.each([
    ['"kind": "delta"', '"kind": "half"', 'kind must be one of base, delta'],
    ['"kind": "delta"', '"kind": "base"', 'parent must be null for a base, else a number'],
    ['"parent": 3', '"parent": null', 'parent must be null for a base, else a number'],
    ['"parent": 3', '"parent": 4', 'parent must be an earlier checkpoint'],
    ['"preDump": false', '"preDump": 0', 'preDump must be true or false'],
    ['"pid": 1234', '"pid": -1', 'processes[0].pid must be an integer of at least 0'],
    ['"present": 9', '"present": 9.5', 'pages.present must be an integer of at least 0'],
    ['"rw-p"', '"rw"', 'processes[0].vmas[0].protection must be like rw-p'],
    ['"fe:1"', '"fe"', 'processes[0].vmas[0].device must be like fe:01'],
    [
      '"0x55d0c0df0000"',
      '"0x55d0c0df0001"',
      'processes[0].vmas[0].end must be an address that is a multiple of 4096',
    ],
    ['"0x55d0c0df0000"', '"0x1000"', 'processes[0].vmas[0].end must be an address behind start'],
    [
      '"0x55d0c0df0000"',
      '"0xfffffffffffff000"',
      'processes[0].vmas must be in address order without overlap',
    ],
    ['"blockCount": 2', '"blockCount": 3', 'blockCount must be the 2 blocks that 300000 bytes take'],
    ['"memory": 36864', '"memory": "much"', 'bytes.memory must be an integer of at least 0'],
    ['    1,\n    4\n', '    4,\n    1\n', 'packs[1] must be an integer of at least 5'],
    ['"summary": {', '"summary": [], "x": {', 'state.summary must be an object'],
  ])('with %s changed to %s is refused by the name of the field', (from, to, message) => {
    expect(encodeManifest(MANIFEST)).toContain(from);
    const text = resealed((whole) => whole.replace(from, to));
    expect(() => decodeManifest(text, 4)).toThrow(IntegrityError);
    expect(() => decodeManifest(text, 4)).toThrow(message);
  });
});

describe('the other sealed files', () => {
  it('come back as they were written', () => {
    expect(decodeStoreFile(encodeStoreFile('0f'.repeat(16)), 'x')).toBe('0f'.repeat(16));
    expect(decodePruning(encodePruning([1, 2, 7]), 'x')).toEqual([1, 2, 7]);
    expect(decodePruning(encodePruning([]), 'x')).toEqual([]);
  });

  it('are not taken for each other', () => {
    expect(() => decodeStoreFile(encodePruning([1]), 'the file')).toThrow(
      'the file is damaged: it says to be "ckpt-pruning", not ckpt-store',
    );
    expect(() => decodePruning(encodePruning([2, 1]), 'x')).toThrow(
      'checkpoints[1] must be an integer of at least 3',
    );
  });
});
