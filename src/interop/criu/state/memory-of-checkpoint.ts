import { PAGE_SIZE, PageRangeList } from '../../../core/index.ts';
import type { CheckpointReader } from '../../../store/index.ts';
import type { MemoryReader } from './types.ts';

/** Reads memory of processes from a checkpoint. Pages that it does not have are zeros. */
export function memoryOfCheckpoint(reader: CheckpointReader): MemoryReader {
  const pids = new Set(reader.manifest.processes.map(({ pid }) => pid));
  return async (pid, startBytes, lengthBytes) => {
    if (!pids.has(pid)) return undefined;
    const startPage = Math.floor(startBytes / PAGE_SIZE);
    const endPage = Math.ceil((startBytes + lengthBytes) / PAGE_SIZE);
    const pages = new Uint8Array((endPage - startPage) * PAGE_SIZE);
    let isFound = false;
    for await (const run of reader.pages(pid, PageRangeList.of({ startPage, endPage }))) {
      isFound = true;
      if (run.bytes !== undefined) pages.set(run.bytes, (run.startPage - startPage) * PAGE_SIZE);
    }
    const from = startBytes - startPage * PAGE_SIZE;
    return isFound ? pages.subarray(from, from + lengthBytes) : undefined;
  };
}
