import { basename } from 'node:path';
import { PAGE_SIZE } from '../core/index.ts';
import { KERNEL_VERSIONS } from '../kernel/index.ts';
import {
  CONTENT_KINDS,
  type ContentDefinition,
  type KernelChoice,
  type Phase,
  type ProgramDefinition,
  REGION_KINDS,
  type RegionDefinition,
  type Workload,
  type WriteStyle,
} from './model.ts';
import { parseEvents } from './parse-events.ts';
import { pagesOf, parseStream } from './parse-streams.ts';
import { checkScopes, type ScopeUses } from './scopes.ts';
import { parseYamlFile, type YamlField } from './yaml-fields.ts';

/** The version of the workload format that this ckpt reads; WORKLOADS.md specifies it. */
const WORKLOAD_FORMAT_VERSION = 1;

/** A region may span 16 TiB: page numbers inside it are 32-bit numbers. */
const LARGEST_REGION_PAGES = 2 ** 32;
/** Pages that may hold content from the start, over all regions: 64 GiB, above which filling takes minutes. */
const LARGEST_RESIDENT_PAGES = 2 ** 24;
const LARGEST_REGION_COUNT = 4095;

/** What is collected while a file is read. */
interface WorkloadParts {
  readonly regions: RegionDefinition[];
  readonly styles: WriteStyle[];
  /** Names that each program uses, to be checked when all programs are known. */
  readonly uses: Map<ProgramDefinition, ScopeUses>;
}

/**
 * Reads a workload file.
 * @param file its path, for messages.
 * @throws WorkloadError naming file, line and field of the first thing that is wrong.
 */
export function parseWorkload(text: string, file: string): Workload {
  const root = parseYamlFile(text, basename(file));
  const fields = root.fields(['version', 'name', 'seed', 'kernel', 'processes', 'programs']);
  const version = fields.version.integer(0, Number.MAX_SAFE_INTEGER);
  if (version !== WORKLOAD_FORMAT_VERSION) {
    throw fields.version.error(
      `workload format ${version} is unknown`,
      `this ckpt reads format ${WORKLOAD_FORMAT_VERSION}`,
    );
  }
  const parts: WorkloadParts = { regions: [], styles: [], uses: new Map() };
  const programs = parsePrograms(fields.programs, parts);
  const processes = fields.processes.items().map((item) => parseProgram(item, parts));
  if (processes.length === 0) throw fields.processes.error('at least one process is needed');
  const workload: Workload = {
    file: basename(file),
    name: fields.name.name(),
    seed: fields.seed.integer(0, Number.MAX_SAFE_INTEGER, 1),
    kernel: parseKernel(fields.kernel),
    processes,
    programs,
    regions: parts.regions,
    styles: parts.styles,
  };
  checkScopes(workload, parts.uses);
  checkTotals(workload, root);
  return workload;
}

function parseKernel(field: YamlField): KernelChoice {
  if (!field.present) return { version: '6.1', softDirty: true, thp: 'madvise' };
  const fields = field.fields(['version', 'softDirty', 'thp']);
  return {
    version: fields.version.choice(KERNEL_VERSIONS, '6.1'),
    softDirty: fields.softDirty.boolean(true),
    thp: fields.thp.choice(['never', 'madvise', 'always'], 'madvise'),
  };
}

function parsePrograms(field: YamlField, parts: WorkloadParts): Map<string, ProgramDefinition> {
  const programs = new Map<string, ProgramDefinition>();
  if (!field.present) return programs;
  for (const { key, value } of field.entries()) {
    const fields = value.fields(['regions', 'phases', 'atEnd', 'cpu']);
    programs.set(key, parseBody(key, fields, parts, 'exit'));
  }
  return programs;
}

function parseProgram(field: YamlField, parts: WorkloadParts): ProgramDefinition {
  const fields = field.fields(['name', 'regions', 'phases', 'atEnd', 'cpu']);
  return parseBody(fields.name.name(), fields, parts, 'repeat');
}

function parseBody(
  name: string,
  fields: Record<'regions' | 'phases' | 'atEnd' | 'cpu', YamlField>,
  parts: WorkloadParts,
  usualEnd: ProgramDefinition['atEnd'],
): ProgramDefinition {
  const regions = fields.regions.present
    ? fields.regions.entries().map(({ key, value }) => parseRegion(key, value, parts))
    : [];
  const heaps = regions.filter((region) => region.kind === 'heap');
  if (heaps.length > 1) {
    throw fields.regions.error(`'${heaps[0]!.name}' and '${heaps[1]!.name}' are both of kind heap`);
  }
  const uses: ScopeUses = { regions: [], programs: [] };
  const phases = fields.phases.items().map((item) => parsePhase(item, parts.styles, uses));
  const program = {
    name,
    regions,
    phases,
    atEnd: fields.atEnd.choice(['repeat', 'idle', 'exit'], usualEnd),
    cpuShare: fields.cpu.share(0),
  };
  parts.uses.set(program, uses);
  return program;
}

function parseRegion(name: string, field: YamlField, parts: WorkloadParts): RegionDefinition {
  const fields = field.fields(['size', 'resident', 'kind', 'content', 'mapped', 'access']);
  const sizePages = pagesOf(fields.size.bytes());
  if (sizePages < 1) throw fields.size.error('a region has at least one page');
  if (sizePages > LARGEST_REGION_PAGES) throw fields.size.error('a region spans at most 16TiB');
  const residentPages = pagesOf(fields.resident.bytes(0));
  if (residentPages > sizePages) {
    throw fields.resident.error('more than the size of the region', 'resident is a part of size');
  }
  if (parts.regions.length >= LARGEST_REGION_COUNT) {
    throw field.error(`a workload has at most ${LARGEST_REGION_COUNT} regions`);
  }
  const region: RegionDefinition = {
    name,
    index: parts.regions.length,
    sizePages,
    residentPages,
    kind: fields.kind.choice(REGION_KINDS),
    content: parseContent(fields.content),
    mapped: fields.mapped.boolean(true),
    access: fields.access.choice(['none', 'read', 'read-write'], 'read-write'),
  };
  if (!region.mapped && residentPages > 0) {
    throw fields.resident.error('a region that is not mapped has no resident pages', "give it to 'mmap'");
  }
  parts.regions.push(region);
  return region;
}

function parseContent(field: YamlField): ContentDefinition {
  if (!field.present) return { kind: 'records', compressible: 1 };
  const fields = field.fields(['kind', 'compressible']);
  const kind = fields.kind.choice(CONTENT_KINDS);
  const partly = kind === 'mix' || kind === 'padded';
  if (!partly && fields.compressible.present) {
    throw fields.compressible.error(
      `has no meaning for content '${kind}'`,
      "it belongs to 'mix' and 'padded'",
    );
  }
  return { kind, compressible: partly ? fields.compressible.share() : 1 };
}

function parsePhase(field: YamlField, styles: WriteStyle[], uses: ScopeUses): Phase {
  const fields = field.fields(['duration', 'writes', 'reads', 'events']);
  const durationNanoseconds = fields.duration.nanoseconds();
  if (durationNanoseconds < 1000) throw fields.duration.error('a phase lasts at least 1us');
  const writes = fields.writes.items().map((item) => parseStream(item, 'write', styles, uses));
  const reads = fields.reads.items().map((item) => parseStream(item, 'read', styles, uses));
  return {
    durationNanoseconds,
    streams: [...writes, ...reads],
    events: parseEvents(fields.events, durationNanoseconds, uses),
  };
}

function checkTotals(workload: Workload, root: YamlField): void {
  const resident = workload.regions.reduce((sum, region) => sum + region.residentPages, 0);
  if (resident > LARGEST_RESIDENT_PAGES) {
    const gibibytes = Math.ceil((resident * PAGE_SIZE) / 2 ** 30);
    throw root.error(`${gibibytes}GiB are resident from the start; at most 64GiB can be`);
  }
}
