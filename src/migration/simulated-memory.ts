import { openBlockCodec } from '../codec/index.ts';
import { PAGE_SIZE } from '../core/index.ts';
import { type Program, type RegionDefinition, Simulation, type Workload } from '../workload/index.ts';
import type { MigratingMemory } from './memory.ts';
import { PageBitmap } from './page-bitmap.ts';
import { type NumberedSegment, PageNumbers } from './page-numbers.ts';
import { findStretch } from './recording/mapped-sizes.ts';

export interface SimulatedMemoryOptions {
  /** How long the program has run when the migration begins. */
  readonly warmUpMicroseconds?: number;
  /** Another seed than the workload file's: another history of the same program. */
  readonly seed?: number;
}

/** What is known of the contents of a region, and where its pages are numbered. */
interface Contents extends NumberedRegion {
  readonly compressedShare: number;
  /** Bytes that an average store changes. */
  readonly storeBytes: number;
}

/** Pages that are compressed to learn how well a region compresses; they form one block. */
const SAMPLED_PAGES = 32;
/** Overhead of a run of changed bytes in an XBZRLE encoding: length of the gap, then of the run (ULEB128). */
const RUN_OVERHEAD_BYTES = 3;

/**
 * Opens the memory of a simulated workload for a rehearsal. Regions are scanned in the order of the file, whatever
 * their addresses, so that a file can say where in a guest's physical memory things lie.
 */
export async function openSimulatedMemory(
  workload: Workload,
  options: SimulatedMemoryOptions = {},
): Promise<SimulatedMemory> {
  const simulation = Simulation.start({ ...workload, seed: options.seed ?? workload.seed });
  const memory = new SimulatedMemory(simulation, await compressedShares(simulation));
  memory.run(options.warmUpMicroseconds ?? 0);
  memory.begin();
  return memory;
}

/** A stretch of page numbers whose pages belong to one region. */
export interface NumberedRegion {
  readonly name: string;
  readonly pid: number;
  readonly firstNumber: number;
  /** Exclusive. */
  readonly endNumber: number;
}

/** The memory of a simulated workload, and the program that runs in it. */
export class SimulatedMemory implements MigratingMemory {
  readonly resident = new PageBitmap(0);
  readonly dirty = new PageBitmap(0);
  readonly cpuShare: number;
  readonly #simulation: Simulation;
  readonly #numbers = new PageNumbers();
  readonly #zero = new PageBitmap(0);
  readonly #contents: Contents[] = [];
  #stores: Uint32Array | undefined;
  /** Nanoseconds of `run` that were too short to simulate so far. */
  #owed = 0;

  constructor(simulation: Simulation, shares: ReadonlyMap<RegionDefinition, number>) {
    this.#simulation = simulation;
    this.cpuShare = Math.min(
      1,
      simulation.programs.reduce((sum, { definition }) => sum + definition.cpuShare, 0),
    );
    for (const program of simulation.programs) this.#addRegions(program, shares);
    simulation.kernel.listener = { store: (pid, page) => this.#stored(pid, page) };
  }

  get pageCount(): number {
    return this.#numbers.count;
  }

  /** Ends the warm-up: what was written until now is there when the migration begins. */
  begin(): void {
    this.resident.absorb(this.dirty);
  }

  /** Where the pages are that have numbers. */
  segments(): readonly NumberedSegment[] {
    return this.#numbers.segments();
  }

  /** Where the regions lie that the workload begins with. */
  regions(): readonly NumberedRegion[] {
    return this.#contents;
  }

  run(microseconds: number): void {
    const wanted = microseconds + this.#owed;
    const whole = Math.floor(wanted);
    this.#owed = wanted - whole;
    if (whole > 0) this.#simulation.run(whole);
  }

  isZero(page: number): boolean {
    return this.#zero.has(page);
  }

  zerosAmong(word: number, pages: number): number {
    return this.#zero.word(word) & pages;
  }

  compressedShare(page: number): number {
    return this.#contentsOf(page)?.compressedShare ?? 1;
  }

  compressedShareEnd(page: number): number {
    return this.#contentsOf(page)?.endNumber ?? page + 1;
  }

  countStores(): void {
    this.#stores ??= new Uint32Array(this.pageCount);
  }

  storesOf(page: number): number {
    return this.#stores?.[page] ?? 0;
  }

  differenceBytes(page: number, stores: number): number {
    if (stores === 0) return 0;
    const storeBytes = this.#contentsOf(page)?.storeBytes ?? PAGE_SIZE;
    // Each store changes its share of what no store before it has changed.
    const covered = PAGE_SIZE * (1 - (1 - Math.min(1, storeBytes / PAGE_SIZE)) ** stores);
    const runs = stores * (1 - covered / PAGE_SIZE);
    return storeBytes >= PAGE_SIZE ? PAGE_SIZE : Math.ceil(Math.max(1, runs) * RUN_OVERHEAD_BYTES + covered);
  }

  #stored(pid: number, page: number): void {
    const number = this.#numbers.numberOf(pid, page);
    this.dirty.add(number);
    this.#zero.remove(number);
    const stores = this.#stores;
    if (stores === undefined) return;
    if (number >= stores.length) {
      this.#stores = new Uint32Array(this.pageCount);
      this.#stores.set(stores);
    }
    this.#stores![number]!++;
  }

  #addRegions(program: Program, shares: ReadonlyMap<RegionDefinition, number>): void {
    for (const region of program.regions.values()) {
      const { definition, startPage, sizePages } = region;
      if (sizePages === 0) continue;
      const firstNumber = this.#numbers.addMapping(program.process.pid, startPage, sizePages);
      const residentEnd = firstNumber + Math.min(sizePages, definition.residentPages);
      this.resident.addRange(firstNumber, residentEnd);
      if (definition.content.kind === 'zero') this.#zero.addRange(firstNumber, residentEnd);
      this.#contents.push({
        name: definition.name,
        pid: program.process.pid,
        firstNumber,
        endNumber: firstNumber + sizePages,
        compressedShare: shares.get(definition) ?? 1,
        storeBytes: averageStoreBytes(this.#simulation.workload, program, definition),
      });
    }
  }

  #contentsOf(page: number): Contents | undefined {
    return this.#contents[findStretch(this.#contents, page)];
  }
}

function averageStoreBytes(workload: Workload, program: Program, region: RegionDefinition): number {
  let stores = 0;
  let bytes = 0;
  for (const { streams } of program.definition.phases) {
    for (const stream of streams) {
      const style = stream.style === undefined ? undefined : workload.styles[stream.style];
      if (style === undefined || stream.region !== region.name) continue;
      stores += stream.perSecond;
      bytes += stream.perSecond * style.bytes * style.changedShare;
    }
  }
  return stores === 0 ? PAGE_SIZE : bytes / stores;
}

/** How well the resident pages of each region compress at zstd level 1, as migrations use it. */
async function compressedShares(simulation: Simulation): Promise<Map<RegionDefinition, number>> {
  const codec = await openBlockCodec();
  const shares = new Map<RegionDefinition, number>();
  const block = new Uint8Array(SAMPLED_PAGES * PAGE_SIZE);
  for (const program of simulation.programs) {
    for (const { definition, startPage, sizePages } of program.regions.values()) {
      const resident = Math.min(sizePages, definition.residentPages);
      if (resident === 0) continue;
      const sampled = Math.min(SAMPLED_PAGES, resident);
      for (let sample = 0; sample < sampled; sample++) {
        const page = startPage + Math.floor((sample * resident) / sampled);
        program.process.peekPage(page, block.subarray(sample * PAGE_SIZE, (sample + 1) * PAGE_SIZE));
      }
      const raw = block.subarray(0, sampled * PAGE_SIZE);
      shares.set(definition, codec.encode(raw, 'zstd', 1).stored.length / raw.length);
    }
  }
  return shares;
}
