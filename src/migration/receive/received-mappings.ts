import { formatPageAddress, PeerError } from '../../core/index.ts';
import type { NewProcess } from '../../store/index.ts';
import type { MessageOf } from '../wire/messages.ts';

/** Processes of one target. */
const MAX_PROCESSES = 32_768;

/** Mappings of all processes together: sixty times what one process may have by default (vm.max_map_count). */
const MAX_MAPPINGS = 4_000_000;

/** The processes of a round and their mappings, as they were told. */
export class ReceivedMappings {
  readonly #processes = new Map<number, NewProcess>();
  #mappings = 0;

  /** All processes, in the order in which they were first told of. */
  get processes(): NewProcess[] {
    return [...this.#processes.values()];
  }

  /**
   * Takes the mappings of a process, in place of earlier ones.
   * @throws PeerError if they overlap, or there are too many of them or of processes
   */
  add({ pid, parentPid, name, fingerprint, vmas }: MessageOf<'mappings'>): void {
    if (this.#processes.size >= MAX_PROCESSES && !this.#processes.has(pid)) {
      throw new PeerError(`the other end sent more than ${MAX_PROCESSES} processes`);
    }
    this.#mappings += vmas.length - (this.#processes.get(pid)?.vmas.length ?? 0);
    if (this.#mappings > MAX_MAPPINGS) {
      throw new PeerError(`the other end sent more than ${MAX_MAPPINGS} mappings`);
    }
    let endPage = 0;
    for (const vma of vmas) {
      if (vma.startPage < endPage || vma.endPage <= vma.startPage) {
        throw new PeerError(
          `the other end sent mappings of process ${pid} that are out of order at ` +
            formatPageAddress(vma.startPage),
        );
      }
      endPage = vma.endPage;
    }
    const known = fingerprint === undefined ? {} : { fingerprint };
    this.#processes.set(pid, { pid, parentPid, name, vmas, ...known });
  }
}
