import { PAGE_SIZE, type PageRange, TargetError, UnsupportedError } from '../core/index.ts';
import { errnoName, type Kernel, type Process, ZERO_FRAME } from '../kernel/index.ts';
import type { PagemapScanRequest, PagemapScanResult } from '../procfs/index.ts';
import type { Program } from '../workload/index.ts';
import { SimulatedWriteProtection, writeProtectionProblem } from './simulated-write-protection.ts';
import type { ProcessView, Vma, WriteProtection } from './view.ts';

/** One process of a simulated target through the simulated /proc. */
export class SimulatedProcessView implements ProcessView {
  readonly zeroFrame = ZERO_FRAME;
  readonly program: Program;
  readonly #kernel: Kernel;
  readonly scanPagemap?: (request: PagemapScanRequest) => PagemapScanResult;
  readonly writeProtection?: WriteProtection;

  constructor(kernel: Kernel, program: Program) {
    this.program = program;
    this.#kernel = kernel;
    // PAGEMAP_SCAN came with Linux 6.7.
    if (kernel.features.pagemapScan) this.scanPagemap = (request) => this.#scan(request);
    if (writeProtectionProblem(kernel) === undefined) {
      this.writeProtection = new SimulatedWriteProtection(kernel, () => this.#existing());
    }
  }

  get pid(): number {
    return this.program.process.pid;
  }

  get parentPid(): number {
    return this.program.parentPid;
  }

  get name(): string {
    return this.program.process.name;
  }

  vmas(): Vma[] {
    return this.#existing().vmas();
  }

  readPagemap(startPage: number, pageCount: number, words: Uint32Array): number {
    return this.#existing().readPagemapWords(startPage, pageCount, words);
  }

  clearReferences(value: number): void {
    const result = this.#existing().clearRefs(String(value));
    if (result < 0) throw this.#refused(`writing ${value} to clear_refs`, result);
  }

  readMemory(startPage: number, pageCount: number, into: Uint8Array): number {
    const bytes = this.#existing().memRead(startPage, 0, into.subarray(0, pageCount * PAGE_SIZE));
    return bytes <= 0 ? 0 : Math.floor(bytes / PAGE_SIZE);
  }

  populatedPages(vma: Vma): readonly PageRange[] | undefined {
    return vma.shared ? this.#existing().populatedPages(vma.startPage) : undefined;
  }

  #scan(request: PagemapScanRequest): PagemapScanResult {
    const result = this.#existing().scanPagemap(request);
    if (typeof result === 'number') throw this.#refused('PAGEMAP_SCAN', result);
    return result;
  }

  #existing(): Process {
    const { process } = this.program;
    if (this.#kernel.process(this.pid) === process && process.state === 'running') return process;
    throw new TargetError(`process ${this.pid} (${this.name}) has exited`, {
      data: { pid: this.pid, gone: true },
    });
  }

  #refused(what: string, errno: number): UnsupportedError {
    return new UnsupportedError(
      `${what} for process ${this.pid} was refused by the simulated kernel: ${errnoName(errno)}`,
      { data: { pid: this.pid, errno: -errno } },
    );
  }
}
