// Reads the memory of a stopped process, and the files of a restore, by rules of its own: it shares no code with ckpt,
// and is what ckpt's restores are compared with. Both give an object: mapping -> SHA-256 of what it holds.
import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';

const PAGE = 4096;
const CHUNK = 1 << 20;

/** What of the memory of process `pid` a checkpoint has to keep. */
export function readMemory(pid) {
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
      const words = new BigUint64Array(bytes / PAGE);
      readSync(pagemap, words, 0, words.length * 8, (at / PAGE) * 8);
      const kept = [...words].map((word) => {
        if (name === '[vdso]' || !isPrivate) return true;
        const exists = word >> 62n !== 0n;
        // Pages of a private file mapping that still belong to the file are not kept.
        return inode === '0' ? exists : exists && ((word >> 61n) & 1n) === 0n;
      });
      hashPages(hash, at - start, bytes, kept, (buffer) => readSync(mem, buffer, 0, bytes, at));
    }
    result[`${from}-${to}`] = hash.digest('hex');
  }
  closeSync(mem);
  closeSync(pagemap);
  return result;
}

/** What the files of a restore in `directory` hold, and which of them hold nothing but a hole. */
export function readRestored(directory) {
  const digests = {};
  const empty = [];
  for (const file of readdirSync(directory).filter((name) => name.endsWith('.mem'))) {
    const descriptor = openSync(`${directory}/${file}`, 'r');
    const { size, blocks } = fstatSync(descriptor);
    const hash = createHash('sha256');
    for (let at = 0; at < size && blocks > 0; at += CHUNK) {
      const bytes = Math.min(CHUNK, size - at);
      hashPages(hash, at, bytes, undefined, (buffer) => readSync(descriptor, buffer, 0, bytes, at));
    }
    closeSync(descriptor);
    digests[file.slice(0, -4)] = hash.digest('hex');
    if (blocks === 0) empty.push(file.slice(0, -4));
  }
  return { digests, empty };
}

const zeros = Buffer.alloc(PAGE);

/** Adds the pages that are not all zeros, each with its place, so that large holes cost nothing. */
function hashPages(hash, offset, bytes, kept, read) {
  if (kept?.every((keep) => !keep)) return;
  const buffer = Buffer.alloc(bytes);
  if (read(buffer) !== bytes) throw new Error(`the memory at offset ${offset} cannot be read whole`);
  for (let index = 0; index * PAGE < bytes; index++) {
    const page = buffer.subarray(index * PAGE, (index + 1) * PAGE);
    if (kept?.[index] === false || page.equals(zeros)) continue;
    hash.update(`${offset / PAGE + index}:`);
    hash.update(page);
  }
}
