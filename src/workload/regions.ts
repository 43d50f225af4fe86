import { mix32, WorkloadError } from '../core/index.ts';
import { errnoName, type Kernel, MADV, MAP, OpenFile, PROT, type Process } from '../kernel/index.ts';
import { initialSource } from './content.ts';
import type { Access, RegionDefinition } from './model.ts';
import type { Program, Region } from './program.ts';

const HUGE_PAGES = 512;

/** Protection bits of an access. */
export function protectionOf(access: Access): number {
  if (access === 'none') return PROT.none;
  return access === 'read' ? PROT.read : PROT.read | PROT.write;
}

/**
 * Adds a region to a program and maps it, with its resident pages, if it begins mapped.
 * @throws WorkloadError if the simulated machine has no room for it.
 */
export function addRegion(kernel: Kernel, program: Program, definition: RegionDefinition): void {
  const region: Region = { definition, startPage: 0, sizePages: 0 };
  program.regions.set(definition.name, region);
  const result = definition.mapped ? mapRegion(kernel, program, region, definition.residentPages) : 0;
  if (result < 0) {
    throw new WorkloadError(
      `region '${definition.name}' of '${program.definition.name}' cannot be mapped: ${errnoName(result)}`,
      { hint: 'a process has 128 TiB of address space: make its regions smaller' },
    );
  }
}

/**
 * Maps a region that is not mapped and gives the first `residentPages` pages their initial content.
 * @returns 0, or a negative errno.
 */
export function mapRegion(kernel: Kernel, program: Program, region: Region, residentPages: number): number {
  const { definition } = region;
  const start = place(kernel, program, definition, residentPages);
  if (start < 0) return start;
  region.startPage = start;
  region.sizePages = definition.sizePages;
  if (isFile(definition)) {
    for (let key = 0; key < residentPages; key++) program.process.touch(start + key);
  } else populate(program.process, start, definition, residentPages);
  if (definition.access === 'read-write') return 0;
  return program.process.mprotect(start, definition.sizePages, protectionOf(definition.access));
}

/** Unmaps a whole region. */
export function unmapRegion(program: Program, region: Region): number {
  if (region.sizePages === 0) return 0;
  const result =
    region.definition.kind === 'heap'
      ? program.process.brk(region.startPage)
      : program.process.munmap(region.startPage, region.sizePages);
  region.sizePages = 0;
  return result;
}

/** Pages of the part that lie in the region as it is now. */
export function clip(region: Region, fromPage: number, pageCount: number | undefined): [number, number] {
  const end = Math.min(region.sizePages, fromPage + (pageCount ?? region.sizePages));
  return [region.startPage + fromPage, Math.max(0, end - fromPage)];
}

/** Whether a page belongs to a share of its region: always the same pages for one share. */
export function inShare(region: Region, key: number, share: number): boolean {
  return mix32(Math.imul(key + 1, 0x9e3779b1) ^ (region.definition.index + 1)) < share * 4294967296;
}

function isFile(definition: RegionDefinition): boolean {
  return definition.kind === 'file-private' || definition.kind === 'file-shared';
}

function place(
  kernel: Kernel,
  program: Program,
  definition: RegionDefinition,
  residentPages: number,
): number {
  const { process } = program;
  const size = definition.sizePages;
  const access = PROT.read | PROT.write;
  switch (definition.kind) {
    case 'anonymous':
      return process.mmap(0, size, access, MAP.private | MAP.anonymous);
    case 'shared-anonymous':
      return process.mmap(0, size, access, MAP.shared | MAP.anonymous);
    case 'huge':
      return placeHuge(process, size);
    case 'heap': {
      const result = process.brk(process.heapStartPage + size);
      return result < 0 ? result : process.heapStartPage;
    }
    case 'file-private':
    case 'file-shared': {
      const file = dataFile(kernel, program, definition, residentPages);
      if (!(file instanceof OpenFile)) return file;
      const flags = definition.kind === 'file-shared' ? MAP.shared : MAP.private;
      return process.mmap(0, size, access, flags, file);
    }
  }
}

/** Aligned to 2 MiB, as an allocator that wants huge pages does it: map more, give back both ends. */
function placeHuge(process: Process, size: number): number {
  const start = process.mmap(0, size + HUGE_PAGES, PROT.read | PROT.write, MAP.private | MAP.anonymous);
  if (start < 0) return start;
  const aligned = Math.ceil(start / HUGE_PAGES) * HUGE_PAGES;
  if (aligned > start) process.munmap(start, aligned - start);
  process.munmap(aligned + size, start + HUGE_PAGES - aligned);
  process.madvise(aligned, size, MADV.hugePage);
  return aligned;
}

/**
 * The file behind a region. When it is new, its first pages get their content through a shared mapping that is gone
 * again before the program runs.
 */
function dataFile(
  kernel: Kernel,
  program: Program,
  definition: RegionDefinition,
  residentPages: number,
): OpenFile | number {
  const path = `/mnt/${program.definition.name}.${program.ordinal}/${definition.name}`;
  const known = kernel.openFile(path, true);
  if (known instanceof OpenFile) return known;
  const created = kernel.createFile(path, definition.sizePages, 0);
  if (created < 0) return created;
  const file = kernel.openFile(path, true);
  if (!(file instanceof OpenFile) || residentPages === 0) return file;
  const { process } = program;
  const start = process.mmap(0, residentPages, PROT.read | PROT.write, MAP.shared, file);
  if (start < 0) return start;
  populate(process, start, definition, residentPages);
  process.munmap(start, residentPages);
  return file;
}

function populate(process: Process, start: number, definition: RegionDefinition, pageCount: number): void {
  const source = initialSource(definition.index);
  for (let key = 0; key < pageCount; key++) process.populate(start + key, source, key);
}
