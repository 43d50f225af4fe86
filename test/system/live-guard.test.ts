import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import {
  isRoot,
  killPrograms,
  lacking,
  type Program,
  processesWith,
  start,
  startPython,
  threadStates,
  until,
} from './programs.ts';

const HOLDER = join(import.meta.dirname, 'hold-frozen.mjs');
const COUNTER = `
import sys, time, threading
count = 0
def busy():
    global count
    while True: count += 1
threading.Thread(target=busy, daemon=True).start()
print('ready')
for line in sys.stdin: print(count)
`;

afterEach(killPrograms);

async function holdFrozen(pid: number, freezer = 'signal'): Promise<Program> {
  const holder = start(process.execPath, [HOLDER, `${pid}`, freezer]);
  expect(await holder.line()).toBe('frozen');
  return holder;
}

/** Guards of one target: their command line has its PID behind their name. */
const guards = (pid: number) => processesWith(`ckpt-guard\0${pid}\0`);

describe('the guard of a frozen target', () => {
  it.each(['SIGKILL', 'SIGABRT', 'SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'lets it go on within a second when ckpt dies of %s',
    async (signal) => {
      const program = await startPython(COUNTER);
      const holder = await holdFrozen(program.pid);
      expect(threadStates(program.pid)).toBe('TT');
      process.kill(holder.pid, signal);
      await until('continue', 1000, () => !threadStates(program.pid).includes('T'));
      expect(Number(await program.ask('count'))).toBeGreaterThan(0);
      await until('end of the guard', 1000, () => guards(program.pid).length === 0);
    },
  );

  it('survives a signal to the whole process group', async () => {
    const program = await startPython(COUNTER);
    const holder = await holdFrozen(program.pid);
    // The guard leads a session of its own: no signal to the group or terminal of ckpt reaches it.
    const [guard] = guards(program.pid);
    const stat = readFileSync(`/proc/${guard}/stat`, 'latin1');
    const [, , group, session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    expect([group, session]).toEqual([`${guard}`, `${guard}`]);
    process.kill(guard!, 'SIGINT');
    process.kill(guard!, 'SIGTERM');
    await delay(50);
    expect(guards(program.pid)).toEqual([guard]);
    process.kill(holder.pid, 'SIGKILL');
    await until('continue', 1000, () => !threadStates(program.pid).includes('T'));
  });

  it('does not let go on what somebody else had stopped', async () => {
    const program = await startPython(COUNTER);
    process.kill(program.pid, 'SIGSTOP');
    await until('stop', 1000, () => threadStates(program.pid) === 'TT');
    const holder = await holdFrozen(program.pid);
    process.kill(holder.pid, 'SIGKILL');
    await delay(300);
    expect(threadStates(program.pid)).toBe('TT');
  });

  it.skipIf(lacking(isRoot))('does not touch a later process with the same PID', async () => {
    for (let attempt = 0; attempt < 20; attempt++) {
      const program = start('sleep', ['1000']);
      await until('exec', 1000, () => readFileSync(`/proc/${program.pid}/comm`, 'latin1') === 'sleep\n');
      const holder = await holdFrozen(program.pid);
      await program.kill();
      writeFileSync('/proc/sys/kernel/ns_last_pid', `${program.pid - 1}`);
      const later = start('sleep', ['1001']);
      if (later.pid !== program.pid) continue;
      process.kill(later.pid, 'SIGSTOP');
      await until('stop', 1000, () => threadStates(later.pid) === 'T');
      process.kill(holder.pid, 'SIGKILL');
      await until('end of the guard', 1000, () => guards(program.pid).length === 0);
      expect(threadStates(later.pid)).toBe('T');
      return;
    }
    throw new Error('the PID could not be had a second time');
  });

  const mount = /^\d+ \d+ \S+ \/ (\S+) .*- cgroup2 /m.exec(
    readFileSync('/proc/self/mountinfo', 'latin1'),
  )?.[1];
  it.skipIf(lacking(isRoot && mount !== undefined))('thaws a frozen cgroup', async () => {
    const program = await startPython(COUNTER);
    const group = `${mount}/ckpt-guard-${process.pid}`;
    mkdirSync(group);
    try {
      writeFileSync(`${group}/cgroup.procs`, `${program.pid}`);
      const holder = await holdFrozen(program.pid, 'cgroup');
      expect(readFileSync(`${group}/cgroup.freeze`, 'latin1')).toBe('1\n');
      process.kill(holder.pid, 'SIGKILL');
      await until('thaw', 1000, () => readFileSync(`${group}/cgroup.freeze`, 'latin1') === '0\n');
      expect(Number(await program.ask('count'))).toBeGreaterThan(0);
    } finally {
      await killPrograms();
      await until('empty cgroup', 2000, () => readFileSync(`${group}/cgroup.procs`, 'latin1') === '');
      rmdirSync(group);
    }
  });
});
