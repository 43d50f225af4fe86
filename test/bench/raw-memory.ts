import { closeSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';

const CHUNK_BYTES = 1 << 20;

/**
 * Copies what a dump would keep of a live process, its writable private memory, to one file: the "raw memory" that
 * plain zstd is measured on.
 * @returns bytes copied.
 */
export function copyRawMemory(pid: number, path: string): number {
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  const output = openSync(path, 'w');
  const chunk = new Uint8Array(CHUNK_BYTES);
  let total = 0;
  for (const [start, end] of writableMappings(pid)) {
    for (let at = start; at < end; ) {
      const bytes = readSync(memory, chunk, 0, Math.min(CHUNK_BYTES, end - at), at);
      writeSync(output, chunk, 0, bytes);
      at += bytes;
      total += bytes;
    }
  }
  closeSync(memory);
  closeSync(output);
  return total;
}

function writableMappings(pid: number): [start: number, end: number][] {
  const lines = readFileSync(`/proc/${pid}/maps`, 'utf8').trim().split('\n');
  return lines.flatMap((line): [number, number][] => {
    const match = /^([0-9a-f]+)-([0-9a-f]+) rw.p /.exec(line);
    return match === null ? [] : [[Number.parseInt(match[1]!, 16), Number.parseInt(match[2]!, 16)]];
  });
}
