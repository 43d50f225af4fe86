import { formatPageAddress, PAGE_SIZE, TargetError } from '../../core/index.ts';
import type { MapsEntry } from '../../procfs/index.ts';
import { executeMapping, type MappedFiles } from '../rewrite/execute-mappings.ts';
import { isFixedSpecial, isMovableSpecial } from '../rewrite/mapping-kinds.ts';
import type { MappingOperation } from '../rewrite/mapping-operations.ts';
import { planMappings } from '../rewrite/plan-mappings.ts';
import type { Vma } from '../view.ts';
import type { NewProcess } from './new-process.ts';
import { isSharedMemory } from './plan-space.ts';

/** Operations that have to wait until the memory has been written: they would fill it, or forbid the writing. */
const LATE_KINDS: ReadonlySet<MappingOperation['kind']> = new Set(['lock', 'unlock', 'advise', 'protect']);

/** The address space of a process that is being made. */
export class NewSpace {
  readonly #process: NewProcess;
  readonly #vmas: readonly Vma[];
  readonly #files: MappedFiles;
  readonly #late: MappingOperation[] = [];

  /** @param vmas of the checkpoint, in address order */
  constructor(process: NewProcess, vmas: readonly Vma[], files: MappedFiles) {
    this.#process = process;
    this.#vmas = vmas;
    this.#files = files;
  }

  /** Makes the mappings and moves those of the kernel to where they were. */
  map(): void {
    const current = this.#process.mappings().map((entry) => ({ ...entry, flags: [] }));
    const plan = planMappings(current, this.#vmas.map(writable));
    const [obstacle] = plan.obstacles;
    if (obstacle !== undefined) {
      throw new TargetError(`${formatPageAddress(obstacle.startPage)}: ${obstacle.problem}`, {
        data: { pid: this.#process.pid },
      });
    }
    for (const operation of plan.operations) {
      if (LATE_KINDS.has(operation.kind)) this.#late.push(operation);
      else executeMapping(this.#process.leader, operation, this.#files);
    }
    for (const vma of this.#vmas) {
      if (writable(vma) !== vma) this.#late.push({ kind: 'protect', ...vma });
    }
  }

  /** Fills pages. `bytes` undefined stands for pages of zeros: they come to exist, too, as they did. */
  write(startPage: number, pageCount: number, bytes: Uint8Array | undefined): void {
    const endPage = startPage + pageCount;
    for (let index = firstEndingAfter(this.#vmas, startPage); index < this.#vmas.length; index++) {
      const vma = this.#vmas[index]!;
      if (vma.startPage >= endPage) return;
      // The code of the kernel is there already, and has been compared.
      if (isMovableSpecial(vma) || isFixedSpecial(vma)) continue;
      const from = Math.max(startPage, vma.startPage);
      const to = Math.min(endPage, vma.endPage);
      if (bytes !== undefined) {
        const part = bytes.subarray((from - startPage) * PAGE_SIZE, (to - startPage) * PAGE_SIZE);
        this.#process.memory.write(BigInt(from) * BigInt(PAGE_SIZE), part);
      } else this.#writeZeros(from, to);
    }
  }

  /** Protects, locks and advises, once all memory is written. */
  finish(): void {
    for (const operation of this.#late) executeMapping(this.#process.leader, operation, this.#files);
  }

  /** @throws TargetError if the layout is not the one of the checkpoint */
  verify(): void {
    const wanted = outline(this.#vmas);
    const found = outline(this.#process.mappings());
    const index = wanted.findIndex((line, at) => line !== found[at]);
    if (index < 0 && wanted.length === found.length) return;
    const at = index < 0 ? wanted.length : index;
    throw new TargetError(
      `the memory of the new process ${this.#process.pid} is not laid out as it was: ` +
        `${found[at] ?? 'nothing'} instead of ${wanted[at] ?? 'nothing'}`,
      { hint: 'this is a bug in ckpt; please report it', data: { pid: this.#process.pid } },
    );
  }

  #writeZeros(from: number, to: number): void {
    const zeros = new Uint8Array(Math.min(to - from, ZERO_PAGES) * PAGE_SIZE);
    for (let page = from; page < to; page += ZERO_PAGES) {
      const length = Math.min(to - page, ZERO_PAGES) * PAGE_SIZE;
      this.#process.memory.write(BigInt(page) * BigInt(PAGE_SIZE), zeros.subarray(0, length));
    }
  }
}

const ZERO_PAGES = 64;

/**
 * What has to be mapped writable first, though it was not in the end: shared memory, which cannot be written through
 * /proc otherwise; and private mappings whose pages the kernel has accounted for (`ac`), since it does so only for
 * those that are writable at some time, and joins no others to them.
 */
function writable(vma: Vma): Vma {
  if (vma.write) return vma;
  const wasWritable = isSharedMemory(vma) || (!vma.shared && vma.flags.includes('ac'));
  return wasWritable ? { ...vma, write: true } : vma;
}

function firstEndingAfter(vmas: readonly Vma[], page: number): number {
  let low = 0;
  let high = vmas.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (vmas[middle]!.endPage <= page) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Ranges with their protection. Neighbours that are equal are one: where the kernel cuts them is its own affair. */
function outline(mappings: readonly MapsEntry[]): string[] {
  const lines: { start: number; end: number; access: string }[] = [];
  for (const { startPage, endPage, read, write, execute, shared, pathname } of mappings) {
    if (pathname === '[vsyscall]') continue;
    const access = `${read ? 'r' : '-'}${write ? 'w' : '-'}${execute ? 'x' : '-'}${shared ? 's' : 'p'}`;
    const last = lines.at(-1);
    if (last?.end === startPage && last.access === access) last.end = endPage;
    else lines.push({ start: startPage, end: endPage, access });
  }
  return lines.map(
    ({ start, end, access }) => `${formatPageAddress(start)}-${formatPageAddress(end)} ${access}`,
  );
}
