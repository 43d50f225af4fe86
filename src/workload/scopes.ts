import type { ProgramDefinition, RegionDefinition, RegionKind, Workload } from './model.ts';
import { nearest, type YamlField } from './yaml-fields.ts';

/** Deepest chain of programs that fork programs. */
const DEEPEST_FORK_CHAIN = 16;

/** The regions and programs that one program names. */
export interface ScopeUses {
  readonly regions: { readonly name: string; readonly field: YamlField; readonly kind?: RegionKind }[];
  readonly programs: { readonly name: string; readonly field: YamlField }[];
}

/** Reads the name of a region and remembers where it was used; `kind`: only such a region will do. */
export function usedRegion(field: YamlField, uses: ScopeUses, kind?: RegionKind): string {
  const name = field.name();
  uses.regions.push({ name, field, ...(kind === undefined ? {} : { kind }) });
  return name;
}

/**
 * Checks that every region and program that is named exists where it is named. A forked program sees the regions of
 * whoever forks it, under their names, besides its own; so the check follows the forks.
 * @throws WorkloadError at the place where an unknown name is used.
 */
export function checkScopes(workload: Workload, uses: ReadonlyMap<ProgramDefinition, ScopeUses>): void {
  for (const process of workload.processes) checkProgram(process, new Map(), [], workload, uses);
  for (const program of workload.programs.values()) {
    for (const { name, field } of uses.get(program)!.programs) programOf(name, field, workload);
  }
}

function checkProgram(
  program: ProgramDefinition,
  inherited: ReadonlyMap<string, RegionDefinition>,
  forkers: readonly ProgramDefinition[],
  workload: Workload,
  uses: ReadonlyMap<ProgramDefinition, ScopeUses>,
): void {
  const visible = new Map(inherited);
  for (const region of program.regions) visible.set(region.name, region);
  const { regions, programs } = uses.get(program)!;
  for (const use of regions) checkRegion(use, visible, forkers);
  for (const { name, field } of programs) {
    const child = programOf(name, field, workload);
    if (child === program || forkers.includes(child) || forkers.length >= DEEPEST_FORK_CHAIN) {
      throw field.error(`'${name}' would fork itself without end`);
    }
    checkProgram(child, visible, [...forkers, program], workload, uses);
  }
}

function checkRegion(
  use: ScopeUses['regions'][number],
  visible: ReadonlyMap<string, RegionDefinition>,
  forkers: readonly ProgramDefinition[],
): void {
  const region = visible.get(use.name);
  if (region === undefined) {
    const forked = forkers.length === 0 ? '' : ` when '${forkers.at(-1)!.name}' forks this program`;
    const near = nearest(use.name, [...visible.keys()]);
    const known = visible.size === 0 ? 'none is declared' : `declared: ${[...visible.keys()].join(', ')}`;
    throw use.field.error(
      `there is no region '${use.name}'${forked}`,
      near === undefined ? known : `did you mean '${near}'?`,
    );
  }
  if (use.kind !== undefined && region.kind !== use.kind) {
    throw use.field.error(`region '${use.name}' is ${region.kind}; this needs one of kind ${use.kind}`);
  }
}

function programOf(name: string, field: YamlField, workload: Workload): ProgramDefinition {
  const program = workload.programs.get(name);
  if (program !== undefined) return program;
  const near = nearest(name, [...workload.programs.keys()]);
  throw field.error(
    `there is no program '${name}'`,
    near === undefined ? "declare it under 'programs'" : `did you mean '${near}'?`,
  );
}
