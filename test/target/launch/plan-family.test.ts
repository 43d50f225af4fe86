import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type FamilyMember, planFamily } from '../../../src/target/launch/plan-family.ts';
import { processState } from './samples.ts';

const OUTSIDE = 9;

/** Carries a plan out as the kernel would: children inherit the session that their parent has when it forks. */
function sessionsOf(member: FamilyMember, inherited: number, found = new Map<number, number>()) {
  for (const child of member.early) sessionsOf(child, inherited, found);
  const session = member.leadsSession ? member.pid : inherited;
  found.set(member.pid, session);
  for (const child of member.late) sessionsOf(child, session, found);
  return found;
}

describe('planFamily()', () => {
  it('puts every process of a possible family into its session', () => {
    // Each process: its parent among those before it, whether it was forked before its parent began a session, and
    // whether it began one itself.
    const births = fc.array(fc.tuple(fc.nat(), fc.boolean(), fc.boolean()), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(births, (list) => {
        const made: { pid: number; before: number; session: number }[] = [];
        const states = list.map(([choice, early, leads], index) => {
          const pid = 100 + index;
          const parent = index === 0 ? undefined : made[choice % index];
          const before = parent === undefined ? OUTSIDE : early ? parent.before : parent.session;
          const session = leads ? pid : before;
          made.push({ pid, before, session });
          return processState(pid, { parentPid: parent?.pid ?? 0, session, processGroup: session });
        });
        const plan = planFamily(states);
        expect(plan.obstacles).toEqual([]);
        const sessions = sessionsOf(plan.root, OUTSIDE);
        expect([...sessions].sort()).toEqual(states.map(({ pid, session }) => [pid, session]).sort());
      }),
    );
  });

  it('names a process in a session that its parent has never seen', () => {
    const states = [processState(20, { session: 20 }), processState(21, { parentPid: 20, session: 7 })];
    const third = processState(22, { parentPid: 21, session: 8 });
    const { obstacles } = planFamily([...states, third]);
    expect(obstacles).toMatchObject([{ pid: 22, forcible: false }]);
  });

  it('enters process groups after their leaders have begun them', () => {
    const { groups } = planFamily([
      processState(20, { processGroup: 21 }),
      processState(21, { parentPid: 20, processGroup: 21 }),
      processState(22, { parentPid: 20, processGroup: OUTSIDE }),
    ]);
    expect(groups).toEqual([
      { pid: 21, group: 21 },
      { pid: 20, group: 21 },
    ]);
  });

  it('notes a group whose leader had ended', () => {
    const { groups, notes } = planFamily([
      processState(20, { session: 20, processGroup: 20 }),
      processState(21, { parentPid: 20, session: 20, processGroup: 19 }),
    ]);
    expect(groups).toEqual([]);
    expect(notes).toEqual(['process 21 was in process group 19, whose leader had ended']);
  });
});
