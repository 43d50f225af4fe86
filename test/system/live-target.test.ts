import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { PAGE_SIZE, TargetError, UsageError } from '../../src/core/index.ts';
import {
  identityDifference,
  openLiveTarget,
  selectMappings,
  type Target,
  type Vma,
} from '../../src/target/index.ts';
import { compareTracker } from '../../src/tracker/index.ts';
import {
  isRoot,
  killPrograms,
  lacking,
  type Program,
  start,
  startPython,
  threadStates,
  until,
} from './programs.ts';

const targets: Target[] = [];

async function open(...args: Parameters<typeof openLiveTarget>): Promise<Target> {
  const target = await openLiveTarget(...args);
  targets.push(target);
  return target;
}

afterEach(async () => {
  await Promise.all(targets.splice(0).map((target) => target.close()));
  await killPrograms();
});

/** Python that answers each line with a count that a busy thread increments, while others wait in system calls. */
const BUSY = `
import threading, time, sys, os, select
count = 0
def busy():
    global count
    while True: count += 1
def sleeper():
    while True: time.sleep(0.01)
def poller():
    r, w = os.pipe()
    while True: select.select([r], [], [], 0.05)
for f in (busy, sleeper, sleeper, poller): threading.Thread(target=f, daemon=True).start()
print('ready')
for line in sys.stdin: print(count)
`;

/** Python that waits for lines and evaluates them. */
const OBEDIENT = `
import os, sys, mmap, ctypes
print('ready')
for line in sys.stdin:
    exec(line)
`;

/** Hashes memory through /proc/PID/mem with another program than ours. */
const READER = `
import sys, hashlib
pid = sys.argv[1]
with open(f'/proc/{pid}/mem', 'rb', 0) as mem:
    for line in sys.stdin:
        start, end = (int(x) * 4096 for x in line.split())
        mem.seek(start)
        h = hashlib.sha256()
        while start < end:
            data = mem.read(min(end - start, 1 << 20))
            h.update(data); start += len(data)
        print(h.hexdigest())
`;

function hashOf(target: Target, startPage: number, endPage: number): string {
  const view = target.processes()[0]!;
  const hash = createHash('sha256');
  const buffer = new Uint8Array(256 * PAGE_SIZE);
  for (let page = startPage; page < endPage; ) {
    const count = view.readMemory(page, Math.min(256, endPage - page), buffer);
    if (count === 0) throw new Error(`page ${page} cannot be read`);
    hash.update(buffer.subarray(0, count * PAGE_SIZE));
    page += count;
  }
  return hash.digest('hex');
}

async function countAfter(program: Program, milliseconds: number): Promise<number> {
  await delay(milliseconds);
  return Number(await program.ask('count'));
}

function mappingOf(vmas: readonly Vma[], address: number): Vma {
  const page = Math.floor(address / PAGE_SIZE);
  return vmas.find(({ startPage, endPage }) => startPage <= page && page < endPage)!;
}

describe('a live target', () => {
  it('shows the memory that another reader of /proc/PID/mem sees, page by page', async () => {
    const program = await startPython(
      `import sys\nimport random\ndata = bytearray(random.randbytes(20_000_000))\nprint('ready')\nsys.stdin.read()`,
    );
    const target = await open(program.pid);
    await target.freeze();
    const view = target.processes()[0]!;
    const { suspects } = compareTracker.collect(view, selectMappings(view.vmas()), undefined);
    expect(suspects.pageCount).toBeGreaterThan(20_000_000 / PAGE_SIZE);
    const reader = start('/usr/bin/env', ['python3', '-u', '-c', READER, `${program.pid}`]);
    for (const { startPage, endPage } of suspects) {
      expect(await reader.ask(`${startPage} ${endPage}`)).toBe(hashOf(target, startPage, endPage));
    }
    target.verifyStoodStill?.();
  });

  it('stops all threads, and they go on where they were', async () => {
    const program = await startPython(BUSY);
    const target = await open(program.pid, { freezer: 'signal' });
    const before = await countAfter(program, 20);
    await target.freeze();
    expect(target.frozen).toBe(true);
    expect(threadStates(program.pid)).toBe('TTTTT');
    program.say('count');
    await delay(50);
    target.verifyStoodStill?.();
    target.thaw();
    target.thaw();
    expect(target.frozen).toBe(false);
    const atThaw = Number(await program.line());
    expect(atThaw).toBeGreaterThanOrEqual(before);
    expect(await countAfter(program, 50)).toBeGreaterThan(atThaw);
  });

  it('freezes and thaws many times', async () => {
    const program = await startPython(BUSY);
    const target = await open(program.pid);
    let last = 0;
    for (let round = 0; round < 20; round++) {
      await target.freeze();
      target.verifyStoodStill?.();
      target.thaw();
      const count = await countAfter(program, 1);
      expect(count).toBeGreaterThanOrEqual(last);
      last = count;
    }
    expect(last).toBeGreaterThan(0);
  });

  it('leaves a process stopped that was stopped before', async () => {
    const program = await startPython(BUSY);
    process.kill(program.pid, 'SIGSTOP');
    await until('stop', 2000, () => threadStates(program.pid) === 'TTTTT');
    const target = await open(program.pid, { freezer: 'signal' });
    await target.freeze();
    target.thaw();
    await target.close();
    await delay(100);
    expect(threadStates(program.pid)).toBe('TTTTT');
  });

  it('leaves it stopped on request, and running otherwise', async () => {
    const program = await startPython(BUSY);
    const first = await open(program.pid, { freezer: 'signal' });
    await first.freeze();
    await first.close({ leaveStopped: true });
    await delay(100);
    expect(threadStates(program.pid)).toBe('TTTTT');
    process.kill(program.pid, 'SIGCONT');
    const second = await open(program.pid);
    await second.freeze();
    await second.close();
    expect(await countAfter(program, 10)).toBeGreaterThan(0);
  });

  it('notices that somebody else let it go on', async () => {
    const program = await startPython(BUSY);
    const target = await open(program.pid, { freezer: 'signal' });
    await target.freeze();
    process.kill(program.pid, 'SIGCONT');
    await delay(20);
    expect(() => target.verifyStoodStill?.()).toThrow(/continued by somebody else/);
  });

  it('reports a process that is killed while it stands still as gone', async () => {
    const program = await startPython(BUSY);
    const target = await open(program.pid);
    await target.freeze();
    const view = target.processes()[0]!;
    const vma = selectMappings(view.vmas())[0]!;
    process.kill(program.pid, 'SIGKILL');
    await until('end', 2000, () => /^Z+$/.test(threadStates(program.pid)));
    expect(() => view.vmas()).toThrow(TargetError);
    expect(() => view.readMemory(vma.startPage, 1, new Uint8Array(PAGE_SIZE))).toThrow(/has exited/);
    expect(() => view.readPagemap(vma.startPage, 1, new Uint32Array(2))).toThrow(/has exited/);
    expect(() => target.verifyStoodStill?.()).toThrow(/has exited/);
    expect(() => target.thaw()).not.toThrow();
    await program.kill();
    expect(existsSync(`/proc/${program.pid}`)).toBe(false);
  });

  it('reads up to a page that cannot be read', async () => {
    const program = await startPython(OBEDIENT);
    const address = Number(
      await program.ask(
        'import tempfile; f = tempfile.TemporaryFile(); f.truncate(4096 * 3); m = mmap.mmap(f.fileno(), 4096 * 3, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE); f.truncate(4096); print(ctypes.addressof(ctypes.c_char.from_buffer(m)))',
      ),
    );
    const target = await open(program.pid);
    await target.freeze();
    const view = target.processes()[0]!;
    const page = address / PAGE_SIZE;
    expect(view.readMemory(page, 3, new Uint8Array(3 * PAGE_SIZE))).toBe(1);
    expect(view.readMemory(page + 1, 2, new Uint8Array(2 * PAGE_SIZE))).toBe(0);
  });

  it('reads pages in one go, adjacent and scattered, also those that the process itself may not read', async () => {
    const program = await startPython(OBEDIENT);
    const address = Number(
      await program.ask(
        'm = mmap.mmap(-1, 4096 * 40, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); [m.__setitem__(4096 * i, i + 1) for i in range(40)]; a = ctypes.addressof(ctypes.c_char.from_buffer(m)); c = ctypes.CDLL(None); v = ctypes.c_void_p; c.mprotect(v(a + 4096 * 10), v(4096 * 3), 0); c.munmap(v(a + 4096 * 30), v(4096)); print(a)',
      ),
    );
    const target = await open(program.pid);
    await target.freeze();
    const view = target.processes()[0]!;
    const first = address / PAGE_SIZE;
    const read = (from: number, offsets: readonly number[]) => {
      const into = new Uint8Array(offsets.length * PAGE_SIZE);
      const pages = Float64Array.from([0, ...offsets], (offset) => first + offset);
      const count = view.readPages!(pages, from + 1, offsets.length - from, into);
      return [...Array(count).keys()].map((index) => into[index * PAGE_SIZE]! - 1);
    };
    const upTo = (end: number) => [...Array(end).keys()];
    expect(read(0, upTo(40))).toEqual(upTo(30));
    const scattered = [0, 2, 3, 9, 10, 12, 13, 20, 21, 29];
    expect(read(0, scattered)).toEqual(scattered);
    expect(read(4, scattered)).toEqual(scattered.slice(4));
    expect(read(0, [5, 11, 30, 31])).toEqual([5, 11]);
    expect(read(0, [30, 31])).toEqual([]);
    const into = new Uint8Array(40 * PAGE_SIZE);
    expect(view.readMemory(first, 40, into)).toBe(30);
    expect(upTo(30).map((index) => into[index * PAGE_SIZE]! - 1)).toEqual(upTo(30));
    expect(view.readMemory(first + 30, 1, into)).toBe(0);
  });

  it('reads what a process shares with its child without giving it a copy of its own', async () => {
    const program = await startPython(OBEDIENT);
    const address = Number(
      await program.ask(
        'm = mmap.mmap(-1, 20_000_000, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); _ = m.write(os.urandom(20_000_000)); a = ctypes.addressof(ctypes.c_char.from_buffer(m)); pid = os.fork() or sys.stdin.read(); print(a)',
      ),
    );
    // Of the data's own mapping: the child still writes elsewhere while it begins.
    const shared = () => {
      const smaps = readFileSync(`/proc/${program.pid}/smaps`, 'latin1');
      const mapping = smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m).find((text) => {
        const [from, to] = text
          .split(' ', 1)[0]!
          .split('-')
          .map((word) => Number(`0x${word}`));
        return from! <= address && address < to!;
      });
      return Number(/^Shared_Dirty:\s+(\d+)/m.exec(mapping ?? '')?.[1]) * 1024;
    };
    const before = shared();
    expect(before).toBeGreaterThanOrEqual(20_000_000);
    const target = await open(program.pid, { single: true });
    await target.freeze();
    const view = target.processes()[0]!;
    const { suspects } = compareTracker.collect(view, selectMappings(view.vmas()), undefined);
    const into = new Uint8Array(256 * PAGE_SIZE);
    for (const { startPage, endPage } of suspects) {
      const pages = Float64Array.from({ length: endPage - startPage }, (_, index) => startPage + index);
      for (let at = 0; at < pages.length; at += 256) {
        const count = Math.min(256, pages.length - at);
        expect(view.readPages!(pages, at, count, into)).toBe(count);
        expect(view.readMemory(pages[at]!, count, into)).toBe(count);
      }
    }
    expect(shared()).toBe(before);
  });

  it.skipIf(lacking(isRoot))(
    'finds shared pages that only another process has used, and makes none',
    async () => {
      const program = await startPython(OBEDIENT);
      const address = Number(
        await program.ask(
          'm = mmap.mmap(-1, 4096 * 1000); m[0] = 1; pid = os.fork() or (m.__setitem__(4096 * 700, 7), os._exit(0)); os.waitpid(pid, 0); print(ctypes.addressof(ctypes.c_char.from_buffer(m)))',
        ),
      );
      const target = await open(program.pid);
      await target.freeze();
      const view = target.processes()[0]!;
      const vma = mappingOf(view.vmas(), address);
      expect(vma.shared).toBe(true);
      const resident = () =>
        /^Rss:\s+(\d+)/m.exec(readFileSync(`/proc/${program.pid}/smaps_rollup`, 'latin1'))?.[1];
      const before = resident();
      const page = address / PAGE_SIZE;
      expect(view.populatedPages?.(vma)).toEqual([
        { startPage: page, endPage: page + 1 },
        { startPage: page + 700, endPage: page + 701 },
      ]);
      expect(resident()).toBe(before);
      const { suspects, doubts } = compareTracker.collect(view, [vma], undefined);
      expect([...suspects].map((range) => range.startPage - page)).toEqual([0, 700]);
      expect(doubts).toEqual([]);
    },
  );

  it('keeps the flags of mappings that grow', async () => {
    const program = await startPython(OBEDIENT);
    const target = await open(program.pid);
    await target.freeze();
    const flagged = target
      .processes()[0]!
      .vmas()
      .filter(({ flags }) => flags.includes('mr'));
    target.thaw();
    await program.ask('x = bytearray(50_000_000); print(1)');
    await target.freeze();
    const vmas = target.processes()[0]!.vmas();
    expect(vmas.filter(({ flags }) => flags.includes('mr')).length).toBeGreaterThanOrEqual(flagged.length);
    expect(vmas.find(({ pathname }) => pathname === '[stack]')?.flags).toContain('gd');
  });
});

describe('the identity of a live target', () => {
  it('is the same for two looks at one process', async () => {
    const program = await startPython(OBEDIENT);
    const [first, second] = [await open(program.pid), await open(program.pid)];
    expect(first.identity).toEqual(second.identity);
    expect(identityDifference(first.identity, second.identity)).toBeUndefined();
  });

  it('changes with an exec of another program', async () => {
    const program = await startPython(OBEDIENT);
    const target = await open(program.pid);
    const { identity } = target;
    program.say("os.execvp('cat', ['cat'])");
    await until('exec', 5000, () => readFileSync(`/proc/${program.pid}/comm`, 'latin1') === 'cat\n');
    await expect(target.freeze()).rejects.toThrow(/executed another program/);
    expect(threadStates(program.pid)).not.toContain('T');
    expect(identityDifference(identity, (await open(program.pid)).identity)).toMatch(
      /executed another program/,
    );
  });

  it('changes with an exec of the same program', async () => {
    const program = await startPython(OBEDIENT);
    const target = await open(program.pid);
    program.say(
      "os.execvp(sys.executable, ['python3', '-u', '-c', 'import sys; print(5); sys.stdin.read()'])",
    );
    expect(await program.line()).toBe('5');
    await expect(target.freeze()).rejects.toThrow(/executed its program anew/);
  });

  it.skipIf(lacking(isRoot))('tells a process from an earlier one with its PID', async () => {
    const first = start('cat', []);
    const target = await open(first.pid);
    await first.kill();
    await expect(target.freeze()).rejects.toThrow(/has exited/);
    // Start times are counted in ticks of 10 ms: within one tick the next program would look like an exec of the first.
    await new Promise((resolve) => setTimeout(resolve, 30));
    for (let attempt = 0; attempt < 50; attempt++) {
      writeFileSync('/proc/sys/kernel/ns_last_pid', `${first.pid - 1}`);
      const next = start('cat', []);
      if (next.pid === first.pid) {
        await until('exec', 5000, () => readFileSync(`/proc/${next.pid}/comm`, 'latin1') === 'cat\n');
        await expect(target.freeze()).rejects.toThrow(/has exited/);
        const { identity } = await open(next.pid);
        expect(identityDifference(target.identity, identity)).toMatch(/its PID belongs to another one/);
        target.thaw();
        expect(threadStates(next.pid)).not.toBe('T');
        return;
      }
      await next.kill();
    }
    throw new Error('the PID could not be had a second time');
  });
});

describe('what cannot be a target', () => {
  it('is refused with a reason', async () => {
    await expect(open(4_194_303)).rejects.toThrow(/there is no process 4194303/);
    await expect(open(-1)).rejects.toThrow(UsageError);
    await expect(open(process.pid)).rejects.toThrow(/is ckpt itself/);
    await expect(open(process.ppid)).rejects.toThrow(/ancestor of ckpt/);
    await expect(open(1)).rejects.toThrow(/init process/);
  });

  it('a zombie', async () => {
    const program = await startPython(OBEDIENT);
    const zombie = Number(await program.ask('pid = os.fork() or os._exit(0); print(pid)'));
    await until('zombie', 5000, () => threadStates(zombie) === 'Z');
    await expect(open(zombie)).rejects.toThrow(/zombie/);
  });

  it('a single thread', async () => {
    const program = await startPython(BUSY);
    const thread = readdirSync(`/proc/${program.pid}/task`).find((id) => Number(id) !== program.pid);
    const refused = await open(Number(thread)).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(TargetError);
    expect((refused as TargetError).message).toContain(`is a thread of process ${program.pid}`);
    expect((refused as TargetError).hint).toContain(`${program.pid}`);
  });

  it.skipIf(lacking(isRoot))('a thread of the kernel', async () => {
    await expect(open(2)).rejects.toThrow(/thread of the kernel/);
  });

  it.skipIf(lacking(isRoot))('a process of somebody else', async () => {
    const program = await startPython(OBEDIENT);
    process.seteuid?.(65534);
    try {
      const refused = await open(program.pid).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(TargetError);
      expect((refused as TargetError).message).toMatch(/no permission/);
      expect((refused as TargetError).hint).toMatch(/root.*same user.*ptrace_scope.*CAP_SYS_PTRACE/);
    } finally {
      process.seteuid?.(0);
    }
  });
});

describe('the cgroup freezer', () => {
  const mount = /^\d+ \d+ \S+ \/ (\S+) .*- cgroup2 /m.exec(
    readFileSync('/proc/self/mountinfo', 'latin1'),
  )?.[1];
  const group = `${mount}/ckpt-test-${process.pid}`;

  it.skipIf(lacking(isRoot && mount !== undefined))(
    'stops a process that has a cgroup of its own unseen',
    async () => {
      const program = await startPython(BUSY);
      mkdirSync(group);
      try {
        writeFileSync(`${group}/cgroup.procs`, `${program.pid}`);
        const target = await open(program.pid, { freezer: 'cgroup' });
        await target.freeze();
        expect(readFileSync(`${group}/cgroup.freeze`, 'latin1')).toBe('1\n');
        expect(threadStates(program.pid)).not.toContain('T');
        process.kill(program.pid, 'SIGCONT');
        program.say('count');
        await delay(50);
        target.verifyStoodStill?.();
        target.thaw();
        expect(readFileSync(`${group}/cgroup.freeze`, 'latin1')).toBe('0\n');
        expect(Number(await program.line())).toBeGreaterThan(0);
        expect(await countAfter(program, 10)).toBeGreaterThan(0);
      } finally {
        await killPrograms();
        await until('empty cgroup', 2000, () => readFileSync(`${group}/cgroup.procs`, 'latin1') === '');
        rmdirSync(group);
      }
    },
  );

  it('is refused for a process without a cgroup of its own', async () => {
    const program = await startPython(BUSY);
    const target = await open(program.pid, { freezer: 'cgroup' });
    await expect(target.freeze()).rejects.toThrow(/has no cgroup of its own/);
  });
});
