import type { KernelVersion } from '../kernel/index.ts';

/** A validated workload file. WORKLOADS.md specifies what each field means; sizes are in pages, times in nanoseconds. */
export interface Workload {
  /** Name of the file, for messages. */
  readonly file: string;
  readonly name: string;
  readonly seed: number;
  readonly kernel: KernelChoice;
  /** What runs from the start, in the order of the file. */
  readonly processes: readonly ProgramDefinition[];
  /** What forked children run, by name. */
  readonly programs: ReadonlyMap<string, ProgramDefinition>;
  /** Every region of the file; its position is the region's number in page descriptions. */
  readonly regions: readonly RegionDefinition[];
  /** Every kind of store of the file; its position plus one is its number in page descriptions. */
  readonly styles: readonly WriteStyle[];
}

export type ThpMode = 'never' | 'madvise' | 'always';

/** The machine that the workload asks for. */
export interface KernelChoice {
  readonly version: KernelVersion;
  readonly softDirty: boolean;
  readonly thp: ThpMode;
}

/** What one process does: the memory it brings and its phases in order. */
export interface ProgramDefinition {
  readonly name: string;
  readonly regions: readonly RegionDefinition[];
  readonly phases: readonly Phase[];
  readonly atEnd: 'repeat' | 'idle' | 'exit';
  /** Share of a processor that it needs to keep the rates of its streams: 1 if they are all that it can do. */
  readonly cpuShare: number;
}

export const REGION_KINDS = [
  'anonymous',
  'file-private',
  'file-shared',
  'shared-anonymous',
  'huge',
  'heap',
] as const;
export type RegionKind = (typeof REGION_KINDS)[number];

export type Access = 'none' | 'read' | 'read-write';

export interface RegionDefinition {
  readonly name: string;
  /** Position in `Workload.regions`. */
  readonly index: number;
  readonly sizePages: number;
  /** Pages from the start of the region that hold content from the beginning. */
  readonly residentPages: number;
  readonly kind: RegionKind;
  readonly content: ContentDefinition;
  /** False: only declared; an mmap event maps it. */
  readonly mapped: boolean;
  readonly access: Access;
}

export const CONTENT_KINDS = ['zero', 'text', 'records', 'random', 'mix', 'padded'] as const;
export type ContentKind = (typeof CONTENT_KINDS)[number];

export interface ContentDefinition {
  readonly kind: ContentKind;
  /** Share of the page that compresses well, for `mix` and `padded`. */
  readonly compressible: number;
}

export interface Phase {
  readonly durationNanoseconds: number;
  /** Writes first, then reads, in the order of the file: ties in time are broken by this order. */
  readonly streams: readonly StreamDefinition[];
  /** In time order; events at one instant in the order of the file. */
  readonly events: readonly EventDefinition[];
}

export const PATTERN_KINDS = [
  'uniform',
  'zipf',
  'hot-cold',
  'sequential',
  'strided',
  'append',
  'rewrite-in-place',
] as const;
export type PatternKind = (typeof PATTERN_KINDS)[number];

/** A steady stream of page writes or page reads. */
export interface StreamDefinition {
  readonly region: string;
  readonly pattern: PatternDefinition;
  readonly perSecond: number;
  /** Position in `Workload.styles`; undefined for reads. */
  readonly style: number | undefined;
}

export interface PatternDefinition {
  readonly kind: PatternKind;
  /** First page of the region that the pattern uses. */
  readonly fromPage: number;
  /** Pages that it uses; undefined: to the end of the region. */
  readonly spanPages: number | undefined;
  /** Exponent of `zipf`. */
  readonly theta: number;
  /** Share of the pages that are hot, for `hot-cold`. */
  readonly hotFraction: number;
  /** Share of the writes that go to hot pages, for `hot-cold`. */
  readonly hotProbability: number;
  /** Hot pages lie scattered over the span (true) or together at its start. */
  readonly spread: boolean;
  /** Pages from one write to the next, for `strided`. */
  readonly stridePages: number;
  /** Writes that fit into one page, for `append`: 4096 / bytes. */
  readonly writesPerPage: number;
}

/** How a store changes a page; what it writes follows the content of the region. */
export interface WriteStyle {
  readonly bytes: number;
  /** Consecutive stores to a page go to places scattered over it, or in ascending order. */
  readonly order: 'scattered' | 'ascending';
  /** Share of the pages whose bytes really change; the others are rewritten with what they hold. */
  readonly changedShare: number;
}

/** A part of a region; `pageCount` undefined: to its end. */
export interface RegionPart {
  readonly region: string;
  readonly fromPage: number;
  readonly pageCount: number | undefined;
}

export const ADVICES = [
  'dontneed',
  'free',
  'remove',
  'hugepage',
  'nohugepage',
  'mergeable',
  'unmergeable',
  'cold',
  'pageout',
  'willneed',
  'populate-read',
  'populate-write',
  'dontfork',
  'wipeonfork',
] as const;
export type Advice = (typeof ADVICES)[number];

export type EventAction =
  | { readonly do: 'mmap'; readonly region: string; readonly residentPages: number }
  | { readonly do: 'munmap'; readonly part: RegionPart }
  | {
      readonly do: 'mremap';
      readonly region: string;
      readonly sizePages: number | undefined;
      readonly move: boolean;
    }
  | { readonly do: 'mprotect'; readonly part: RegionPart; readonly access: Access }
  | { readonly do: 'madvise'; readonly part: RegionPart; readonly advice: Advice }
  | { readonly do: 'brk'; readonly region: string; readonly sizePages: number }
  | { readonly do: 'fork'; readonly program: string; readonly count: number }
  | { readonly do: 'exit' }
  | { readonly do: 'swap-out'; readonly part: RegionPart; readonly share: number }
  | { readonly do: 'thp'; readonly part: RegionPart; readonly action: 'collapse' | 'split' };

export const EVENT_NAMES = [
  'mmap',
  'munmap',
  'mremap',
  'mprotect',
  'madvise',
  'brk',
  'fork',
  'exit',
  'swap-out',
  'thp',
] as const;

export interface EventDefinition {
  /** From the start of the phase. */
  readonly atNanoseconds: number;
  readonly action: EventAction;
  readonly line: number;
}
