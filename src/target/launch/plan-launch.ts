import type { Credentials, LiveState } from '../live-state-format.ts';
import { type CheckpointFacts, findObstacles } from './find-obstacles.ts';
import { planDescriptors } from './plan-descriptors.ts';
import { type FamilyPlan, planFamily } from './plan-family.ts';
import { planSpace } from './plan-space.ts';
import type {
  DescriptionRecipe,
  DescriptorPlan,
  LaunchObstacle,
  LaunchSource,
  StandardStreams,
} from './plan-types.ts';
import { type LaunchWorld, presentWorld } from './world.ts';

/** How the processes of a checkpoint are to be made, and what forbids it. Nothing has been started. */
export interface LaunchPlan {
  readonly sources: readonly LaunchSource[];
  readonly obstacles: readonly LaunchObstacle[];
  /** What will be different without doing harm, as sentences. */
  readonly notes: readonly string[];
  readonly family: FamilyPlan;
  readonly descriptors: DescriptorPlan;
  /** Everything that has to be open while the processes are made: their open files, mapped files and programs. */
  readonly recipes: readonly DescriptionRecipe[];
  /** Index in `recipes` of what a mapping is mapped from, by `sourceKey`. */
  readonly mappingSources: ReadonlyMap<string, number>;
  /** Index in `recipes` of the program of each process. */
  readonly programs: ReadonlyMap<number, number>;
  readonly ownCredentials: Credentials;
}

/** Looks at everything that a launch needs, and lists all obstacles at once. */
export function planLaunch(
  state: LiveState,
  sources: readonly LaunchSource[],
  facts: CheckpointFacts,
  streams: StandardStreams,
  world: LaunchWorld = presentWorld(),
): LaunchPlan {
  const descriptors = planDescriptors(state.processes, streams);
  const space = planSpace(sources);
  const family = planFamily(state.processes);
  const recipes = [...descriptors.descriptions];
  const mappingSources = new Map([...space.sources].map(([key, index]) => [key, recipes.length + index]));
  recipes.push(...space.recipes);
  const programs = new Map<number, number>();
  for (const { pid, exe } of state.processes) {
    if (exe === null) continue;
    programs.set(pid, recipes.push({ kind: 'open', path: exe.path, flags: 0, position: 0n }) - 1);
  }
  return {
    sources,
    obstacles: [
      ...findObstacles(state, sources, facts, world),
      ...descriptors.obstacles,
      ...space.obstacles,
      ...family.obstacles,
    ],
    notes: [
      ...descriptors.notes,
      ...family.notes,
      ...terminalNotes(state),
      ...bootNotes(state, world),
      ...state.gaps,
    ],
    family,
    descriptors,
    recipes,
    mappingSources,
    programs,
    ownCredentials: world.credentials,
  };
}

function terminalNotes({ processes }: LiveState): string[] {
  return processes
    .filter(({ pid, session, terminal }) => session === pid && terminal !== null)
    .map(({ pid, terminal }) => `session ${pid} had the controlling terminal ${terminal} and has none now`);
}

function bootNotes({ bootId }: LiveState, world: LaunchWorld): string[] {
  if (bootId === world.bootId) return [];
  return ['the machine has been started anew since: clocks that count from its start go back'];
}
