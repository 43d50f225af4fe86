import { createHash } from 'node:crypto';
import { PAGE_DIGEST_BYTES } from '../codec/index.ts';
import { ByteWriter } from '../core/index.ts';
import type { MapsEntry } from '../procfs/index.ts';
import { SEGMENT_DIGEST_BYTES } from './root.ts';
import type { Segment } from './segment.ts';

/**
 * Digest of the pages of one window: the first 16 bytes of the SHA-256 over, for each longest run of existing pages,
 * its first page (u64), its length in pages (u32) and the digests of its pages. It says what memory holds and
 * nothing of how it is stored: a squashed copy and a restored process have the same.
 */
export function segmentDigest(segment: Segment): Uint8Array {
  const hash = createHash('sha256');
  const head = new ByteWriter(12);
  for (let index = 0; index < segment.count; ) {
    const start = index++;
    while (index < segment.count && segment.offsets[index] === segment.offsets[index - 1]! + 1) index++;
    head.reset();
    head.u64(segment.startPage + segment.offsets[start]!);
    head.u32(index - start);
    hash.update(head.view());
    hash.update(segment.digests.subarray(start * PAGE_DIGEST_BYTES, index * PAGE_DIGEST_BYTES));
  }
  return new Uint8Array(hash.digest().subarray(0, SEGMENT_DIGEST_BYTES));
}

/** What the memory digest covers of one process. */
export interface DigestedProcess {
  readonly pid: number;
  readonly vmas: readonly MapsEntry[];
  /** In address order; windows without pages are left out. */
  readonly segments: readonly { readonly startPage: number; readonly digest: Uint8Array }[];
}

/**
 * Digest of the memory of a whole target, as 64 hexadecimal digits: the SHA-256 over its processes in the order of
 * their PIDs. FORMAT.md, "Memory digest", gives the bytes. VmFlags are left out, since trackers change them.
 */
export function memoryDigest(processes: readonly DigestedProcess[]): string {
  const hash = createHash('sha256');
  hash.update('ckpt-memory-1\n');
  for (const process of [...processes].sort((a, b) => a.pid - b.pid)) {
    const writer = new ByteWriter(1024);
    writer.u32(process.pid);
    writer.u32(process.vmas.length);
    for (const vma of process.vmas) writeVma(writer, vma);
    writer.u32(process.segments.length);
    for (const segment of process.segments) {
      writer.u64(segment.startPage);
      writer.raw(segment.digest);
    }
    hash.update(writer.view());
  }
  return hash.digest('hex');
}

function writeVma(writer: ByteWriter, vma: MapsEntry): void {
  writer.u64(vma.startPage);
  writer.u64(vma.endPage);
  writer.u8((vma.read ? 1 : 0) | (vma.write ? 2 : 0) | (vma.execute ? 4 : 0) | (vma.shared ? 8 : 0));
  writer.u64(vma.offsetPages);
  writer.u32(vma.deviceMajor);
  writer.u32(vma.deviceMinor);
  writer.u64(vma.inode);
  writer.text(vma.pathname);
}
