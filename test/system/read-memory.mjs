// Reads the memory of a stopped process, and the files of a restore, by rules of its own: it shares no code with ckpt,
// and is what ckpt's restores are compared with. Both give an object: mapping -> SHA-256 of what it holds.
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';

const PAGE = 4096;
const CHUNK = 16 << 20;
const noWords = Buffer.alloc((CHUNK / PAGE) * 8);

/**
 * What of the memory of process `pid` a checkpoint has to keep. `ignored` are stretches that count as zeros, for what
 * the kernel itself writes there now and then: [address, bytes].
 */
export function readMemory(pid, ignored = []) {
  const mem = openSync(`/proc/${pid}/mem`, 'r');
  const pagemap = openSync(`/proc/${pid}/pagemap`, 'r');
  const result = {};
  for (const line of readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n').filter(Boolean)) {
    const [, from, to, permissions, inode, name] =
      /^([0-9a-f]+)-([0-9a-f]+) (....) \S+ \S+ (\d+) *(.*)$/.exec(line);
    const isPrivate = permissions[3] === 'p';
    if (/^\[(vvar|vsyscall)/.test(name) || (!isPrivate && !name.startsWith('/dev/zero'))) continue;
    const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)];
    const hash = createHash('sha256');
    for (let at = start; at < end; at += CHUNK) {
      const bytes = Math.min(CHUNK, end - at);
      const words = Buffer.alloc((bytes / PAGE) * 8);
      readSync(pagemap, words, 0, words.length, (at / PAGE) * 8);
      const keepsHoles = name === '[vdso]' || !isPrivate;
      if (!keepsHoles && words.equals(noWords.subarray(0, words.length))) continue;
      const kept = Array.from({ length: bytes / PAGE }, (_, index) => {
        if (keepsHoles) return true;
        const word = words.readBigUInt64LE(index * 8);
        const exists = word >> 62n !== 0n;
        // Pages of a private file mapping that still belong to the file are not kept.
        return inode === '0' ? exists : exists && ((word >> 61n) & 1n) === 0n;
      });
      // In runs: reading a hole would put a page of zeros there.
      for (const [first, last] of runsOf(kept)) {
        hashBytes(hash, mem, at + first * PAGE, (last - first) * PAGE, at + first * PAGE, start, ignored);
      }
    }
    result[`${from}-${to}`] = hash.digest('hex');
  }
  closeSync(mem);
  closeSync(pagemap);
  return result;
}

/** What the files of a restore in `directory` hold, and which of them hold nothing but a hole. */
export function readRestored(directory, ignored = []) {
  const digests = {};
  const empty = [];
  for (const file of readdirSync(directory).filter((name) => name.endsWith('.mem'))) {
    const descriptor = openSync(`${directory}/${file}`, 'r');
    const { size, blocks } = fstatSync(descriptor);
    const hash = createHash('sha256');
    const start = Number.parseInt(file, 16);
    for (let at = 0; at < size && blocks > 0; at += CHUNK) {
      const bytes = Math.min(CHUNK, size - at);
      hashBytes(hash, descriptor, at, bytes, start + at, start, ignored);
    }
    closeSync(descriptor);
    digests[file.slice(0, -4)] = hash.digest('hex');
    if (blocks === 0) empty.push(file.slice(0, -4));
  }
  return { digests, empty };
}

/** Makes zeros of the ignored stretches that lie in what was read at `address`. */
function blank(buffer, address, ignored) {
  for (const [from, length] of ignored) {
    const [start, end] = [from - address, from - address + length];
    if (start < buffer.length && end > 0) buffer.fill(0, Math.max(0, start), Math.min(buffer.length, end));
  }
}

const zeros = Buffer.alloc(PAGE);

/** Where `kept` is true: [first, behind the last]. */
function runsOf(kept) {
  const runs = [];
  for (let index = 0; index < kept.length; index++) {
    if (!kept[index]) continue;
    const first = index;
    while (index < kept.length && kept[index]) index++;
    runs.push([first, index]);
  }
  return runs;
}

/**
 * Adds what is read at `position`, memory from `address` on in a mapping from `start` on: the pages that are not all
 * zeros, each with its place, so that large holes cost nothing.
 */
function hashBytes(hash, descriptor, position, bytes, address, start, ignored) {
  const buffer = Buffer.alloc(bytes);
  if (readSync(descriptor, buffer, 0, bytes, position) !== bytes) {
    throw new Error(`the memory at ${address.toString(16)} cannot be read whole`);
  }
  blank(buffer, address, ignored);
  for (let at = 0; at < bytes; at += PAGE) {
    const page = buffer.subarray(at, at + PAGE);
    if (page.equals(zeros)) continue;
    hash.update(`${(address + at - start) / PAGE}:`);
    hash.update(page);
  }
}
