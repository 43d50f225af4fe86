import type { LiveProcessState } from '../live-state-format.ts';
import type { LaunchObstacle } from './plan-types.ts';

/** A process and how its parent has to make it. */
export interface FamilyMember {
  readonly pid: number;
  /** Whether it begins a session of its own. */
  readonly leadsSession: boolean;
  /** Forked before this process begins its own session, so that they stay in the old one; then those after. */
  readonly early: readonly FamilyMember[];
  readonly late: readonly FamilyMember[];
}

/** How to arrange the processes of a target. */
export interface FamilyPlan {
  readonly root: FamilyMember;
  /** Process groups to be entered, in order: those of leaders before those of members. */
  readonly groups: readonly { readonly pid: number; readonly group: number }[];
  readonly obstacles: readonly LaunchObstacle[];
  readonly notes: readonly string[];
}

/**
 * Finds in which order processes have to be forked so that each is in its session: a session is inherited, or begun,
 * never entered. A session and a group from outside of the target become those of ckpt.
 * @param processes parents before their children
 */
export function planFamily(processes: readonly LiveProcessState[]): FamilyPlan {
  const children = new Map<number, LiveProcessState[]>();
  for (const state of processes) {
    const siblings = children.get(state.parentPid);
    if (siblings === undefined) children.set(state.parentPid, [state]);
    else siblings.push(state);
  }
  const obstacles: LaunchObstacle[] = [];
  const arrange = (state: LiveProcessState, inherited: number): FamilyMember => {
    const { pid } = state;
    const early: FamilyMember[] = [];
    const late: FamilyMember[] = [];
    for (const child of children.get(pid) ?? []) {
      const needed = neededSession(child, children) ?? state.session;
      if (needed === state.session) late.push(arrange(child, needed));
      else if (needed === inherited) early.push(arrange(child, needed));
      else {
        const message = `it is in session ${needed}, which its parent ${pid} has left`;
        obstacles.push({ pid: child.pid, message, forcible: false });
        late.push(arrange(child, needed));
      }
    }
    return { pid, leadsSession: state.session === pid, early, late };
  };
  const [first] = processes;
  if (first === undefined) throw new RangeError('a target has at least one process');
  const root = arrange(first, neededSession(first, children) ?? 0);
  return { root, ...planGroups(processes), obstacles };
}

/**
 * The session that a process must have inherited: its own, or, if it began one, that of children which it had before.
 * Undefined if it does not matter.
 */
function neededSession(
  state: LiveProcessState,
  children: ReadonlyMap<number, readonly LiveProcessState[]>,
): number | undefined {
  if (state.session !== state.pid) return state.session;
  for (const child of children.get(state.pid) ?? []) {
    const needed = neededSession(child, children);
    if (needed !== undefined && needed !== state.pid) return needed;
  }
  return undefined;
}

function planGroups(processes: readonly LiveProcessState[]): Pick<FamilyPlan, 'groups' | 'notes'> {
  const pids = new Set(processes.map(({ pid }) => pid));
  const sessionOf = new Map(processes.map(({ pid, session }) => [pid, session]));
  const leaders = processes.filter(
    ({ pid, processGroup, session }) => processGroup === pid && session !== pid,
  );
  const members: { pid: number; group: number }[] = [];
  const notes: string[] = [];
  for (const { pid, processGroup, session } of processes) {
    if (processGroup === pid) continue;
    if (pids.has(processGroup) && sessionOf.get(processGroup) === session)
      members.push({ pid, group: processGroup });
    else if (pids.has(session))
      notes.push(`process ${pid} was in process group ${processGroup}, whose leader had ended`);
  }
  return { groups: [...leaders.map(({ pid }) => ({ pid, group: pid })), ...members], notes };
}
