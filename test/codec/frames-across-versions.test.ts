import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import type { ZstdImplementation } from '../../src/codec/index.ts';
import { openFrames } from './frames.ts';
import { noise, records } from './samples.ts';

/*
 * A store written by one Node must be readable by any other: frames of zstd-codec by node:zlib and the reverse.
 * CKPT_NODE_WITH_ZSTD names a Node binary with zstd (22.15 or later), for machines whose own Node has none.
 */
const ownNodeHasZstd = 'zstdCompressSync' in (await import('node:zlib'));
const otherNode = process.env['CKPT_NODE_WITH_ZSTD'];

const builtModule = (name: string) =>
  JSON.stringify(new URL(`../../dist/codec/${name}.js`, import.meta.url).href);

/** Runs in another process and answers one request: compress or decompress, with a named implementation. */
const PROGRAM = `
  import { readFileSync } from 'node:fs';
  import { compressFrame, decompressFrame } from ${builtModule('frame')};
  import { openZstd } from ${builtModule('zstd')};
  const { implementation, frames, raws, level } = JSON.parse(readFileSync(0, 'utf8'));
  const zstd = await openZstd(implementation);
  const base64 = (bytes) => Buffer.from(bytes).toString('base64');
  const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64'));
  const answer = raws.map((raw, index) => frames === null
    ? base64(compressFrame(zstd, bytes(raw), level))
    : base64(decompressFrame(zstd, bytes(frames[index]), bytes(raw).length, 'frame ' + index)));
  console.log(JSON.stringify(answer));
`;

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');

function elsewhere(
  node: string,
  implementation: ZstdImplementation,
  level: number,
  raws: readonly Uint8Array[],
  frames: readonly Uint8Array[] | null,
): Uint8Array[] {
  const request = { implementation, level, raws: raws.map(base64), frames: frames?.map(base64) ?? null };
  const child = spawnSync(node, ['--input-type=module', '-e', PROGRAM], {
    input: JSON.stringify(request),
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  expect(child.stderr).toBe('');
  const answer: string[] = JSON.parse(child.stdout);
  return answer.map((text) => new Uint8Array(Buffer.from(text, 'base64')));
}

const raws = [
  Uint8Array.of(1),
  records(255),
  records(256),
  records(65_791),
  records(65_792),
  noise(1, 8192),
  new Uint8Array(131_072),
  records(524_288),
];

const node = otherNode ?? (ownNodeHasZstd ? process.execPath : undefined);

describe.skipIf(node === undefined)(
  'frames of zstd-codec and of node:zlib (needs a Node with zstd: set CKPT_NODE_WITH_ZSTD)',
  async () => {
    const wasm = await openFrames('wasm');

    it.each([1, 3, 19])('are read by one another at level %i', (level) => {
      const fromNode = elsewhere(node!, 'node', level, raws, null);
      fromNode.forEach((frame, index) => {
        const content = wasm.decompress(frame, raws[index]!.length, `frame ${index}`);
        expect(Buffer.compare(content, raws[index]!)).toBe(0);
      });
      const fromWasm = raws.map((raw) => wasm.compress(raw, level));
      elsewhere(node!, 'node', level, raws, fromWasm).forEach((content, index) => {
        expect(Buffer.compare(content, raws[index]!)).toBe(0);
      });
    });

    it('have the same size within a fifth', () => {
      const raw = records(524_288);
      const [frame] = elsewhere(node!, 'node', 3, [raw], null);
      const ratio = frame!.length / wasm.compress(raw, 3).length;
      expect(ratio).toBeGreaterThan(0.8);
      expect(ratio).toBeLessThan(1.2);
    });
  },
);
