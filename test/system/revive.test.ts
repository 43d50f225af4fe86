import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { loadNative, type Native } from '../../src/target/native/calls.ts';
import { ckpt, ckptJson } from './command.ts';
import { isRoot, lacking, threadStates, until } from './programs.ts';

const PR_SET_CHILD_SUBREAPER = 36;
/** WNOHANG | __WALL. */
const WAIT_NO_HANG = 1 | 0x40000000;
const bench = mkdtempSync(join(tmpdir(), 'ckpt-revive-program-'));
const program = join(bench, 'revive');
let work = '';
let store = '';
let output = '';
const shells: ChildProcess[] = [];
let native: Native | undefined;
const born: number[] = [];

beforeAll(async () => {
  // init may take its time to wait for orphans, and their PIDs are taken until then: they shall be ours.
  native = await loadNative();
  native.call('prctl of the test', 'prctl', PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  const source = resolve(import.meta.dirname, 'revive.c');
  execFileSync('gcc', ['-O1', '-pthread', '-Wall', '-Wextra', '-Werror', source, '-o', program]);
});
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-revive-'));
  store = join(work, 'store');
  output = join(work, 'output');
});
afterEach(async () => {
  await bury(born.splice(0));
  for (const shell of shells.splice(0)) {
    const ended = once(shell, 'exit');
    if (shell.exitCode === null && shell.signalCode === null && shell.kill('SIGKILL')) await ended;
  }
  rmSync(work, { recursive: true, force: true });
});
afterAll(() => {
  native?.call('prctl of the test', 'prctl', PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
  rmSync(bench, { recursive: true });
});

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended already.
  }
}

/** Closes what the test itself was started with, then starts a program apart from it, and waits for it to the end. */
const STARTER = `
for entry in /proc/$$/fd/*; do number=\${entry##*/}; (( number > 2 )) && eval "exec $number>&-"; done
"$0" "$@" < /dev/null > /dev/null 2>&1 &
echo $!
wait`;

/** @returns the PID of a program whose standard streams are /dev/null */
async function startAlone(...command: readonly string[]): Promise<number> {
  const [name, ...rest] = command;
  const shell = spawn('bash', ['-c', STARTER, name!, ...rest], { stdio: ['ignore', 'pipe', 'inherit'] });
  shells.push(shell);
  const [line] = (await once(createInterface({ input: shell.stdout! }), 'line')) as [string];
  born.push(Number(line));
  return Number(line);
}

/** The process and its descendants. */
function family(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((tid) =>
    readFileSync(`/proc/${pid}/task/${tid}/children`, 'latin1').split(' ').filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(family)];
}

/** Whether a PID is free again; who has become our child by the death of its parent is waited for. */
function isOver(pid: number): boolean {
  native?.tryCall('wait4', pid, 0, WAIT_NO_HANG, 0);
  return !existsSync(`/proc/${pid}`);
}

/** Kills processes and waits until their PIDs are free. */
async function bury(pids: readonly number[]): Promise<void> {
  for (const pid of pids) killQuietly(pid);
  await until('the end of the old processes', 10_000, () => pids.every(isOver));
}

const lines = () => (existsSync(output) ? readFileSync(output, 'latin1').trimEnd().split('\n') : []);

async function linesAfter(count: number, more: number): Promise<string[]> {
  await until(`${more} further lines`, 10_000, () => lines().length >= count + more);
  return lines().slice(count);
}

/** Takes a checkpoint of a running program, and ends it: only the checkpoint is left. */
async function dumpAndBury(pid: number, ...options: readonly string[]): Promise<string[]> {
  await ckptJson('dump', '-t', `${pid}`, '-D', store, '--leave-stopped', ...options);
  const pids = family(pid);
  born.push(...pids);
  await bury(pids);
  return lines();
}

function revive(...options: readonly string[]): Promise<Record<string, unknown>> {
  return ckptJson('restore', '-D', store, '--new', '--detach', ...options);
}

/** What the numbers at the beginning of the lines count: none left out, none twice. */
function expectCounting(all: readonly string[]): void {
  const numbers = all.map((line) => Number.parseInt(line, 10));
  expect(numbers).toEqual(numbers.map((_, index) => numbers[0]! + index));
}

/** What `ckpt diff --bytes --json` prints, as far as it is looked at. */
interface Difference {
  readonly processes: readonly {
    readonly mappings: readonly {
      readonly state: string;
      readonly pages: { readonly appeared: number; readonly vanished: number };
      readonly ranges: readonly { readonly start: string }[];
    }[];
  }[];
}

const PYTHON = `
import os, sys, threading, time
os.closerange(3, 1024)
out = open(sys.argv[1], 'a', buffering=1)
data = {index: [index] * 10 for index in range(20000)}
lock, total = threading.Lock(), [0]
def work():
    while True:
        with lock: total[0] += 1
        time.sleep(0.003)
for _ in range(3): threading.Thread(target=work, daemon=True).start()
turn = 0
while True:
    turn += 1
    time.sleep(0.01)
    sound = all(data[index] == [index] * 10 for index in range(0, 20000, 97)) and threading.active_count() == 4
    print(turn, total[0], 'fine' if sound else 'broken', file=out)
`;

const NODE = `
const { Worker, isMainThread, parentPort } = require('node:worker_threads');
const { appendFileSync } = require('node:fs');
let heard = 0;
if (isMainThread) {
  const values = new Map(Array.from({ length: 20000 }, (_, index) => ['key ' + index, index]));
  new Worker(process.argv[1]).on('message', (count) => { heard = count; });
  let turn = 0;
  setInterval(() => {
    let sound = true;
    for (let index = 0; index < 20000; index += 97) sound &&= values.get('key ' + index) === index;
    appendFileSync(process.argv[2], ++turn + (sound ? ' fine ' : ' broken ') + heard + '\\n');
  }, 10);
} else setInterval(() => parentPort.postMessage(++heard), 5);
`;

const SQLITE = `
import os, sqlite3, sys, time
os.closerange(3, 1024)
out = open(sys.argv[1], 'a', buffering=1)
base = sqlite3.connect(sys.argv[2], isolation_level=None)
base.execute('pragma journal_mode=wal')
base.execute('create table rows(number integer primary key, content)')
turn = 0
while True:
    turn += 1
    base.execute('begin immediate')
    base.execute('insert into rows values(?, ?)', (turn, 'x' * 100))
    base.execute('commit')
    count = base.execute('select count(*) from rows').fetchone()[0]
    sound = base.execute('pragma quick_check').fetchone()[0]
    print(turn, sound if count == turn else count, file=out)
    time.sleep(0.01)
`;

/** Lines of status that differ from one process to the other, or from moment to moment. */
const FLEETING =
  /^(Vm|Rss|Hugetlb|voluntary|nonvoluntary|PPid|TracerPid|Ngid|NSpgid|NSsid|SigQ|FDSize|State|Cpus_|Mems_)/;

/** What /proc tells of a process, as far as a restored one has to be equal. */
function portrait(pid: number): Record<string, string> {
  const read = (name: string) => readFileSync(`/proc/${pid}/${name}`, 'latin1');
  const plain = ['limits', 'cmdline', 'environ', 'auxv', 'personality', 'oom_score_adj', 'comm', 'maps'];
  const stat = read('stat').split(' ');
  const descriptors = readdirSync(`/proc/${pid}/fd`).map((name) => {
    const link = readlinkSync(`/proc/${pid}/fd/${name}`).replace(/:\[\d+\]/, '');
    const info = read(`fdinfo/${name}`).replace(/ino:.*|mnt_id:.*|eventfd-id:.*|it_value:.*|ticks:.*/g, '');
    // What epoll watches is listed by the addresses of the files in the kernel.
    return `${name} ${link}\n${info.split('\n').sort().join('\n')}`;
  });
  return {
    ...Object.fromEntries(plain.map((name) => [name, read(name)])),
    status: read('status')
      .split('\n')
      .filter((line) => !FLEETING.test(line))
      .join('\n'),
    places: ['cwd', 'root', 'exe'].map((name) => readlinkSync(`/proc/${pid}/${name}`)).join(' '),
    // Priority and niceness; bounds of code, stack, data, heap, arguments and environment.
    numbers: [...stat.slice(17, 19), ...stat.slice(25, 28), ...stat.slice(44, 51)].join(' '),
    flags: (read('smaps').match(/^[0-9a-f]+-.*|^VmFlags.*/gm) ?? []).join('\n').replace(/ (uw|sd)\b/g, ''),
    descriptors: descriptors.join('\n'),
  };
}

describe.skipIf(lacking(isRoot && process.arch === 'x64'))(
  'ckpt restore --new (needs root on x86-64)',
  () => {
    it('goes on with threads, timers, handlers, alternate stack and pending signals', async () => {
      const pid = await startAlone(program, 'work', output);
      await linesAfter(0, 20);
      const before = await dumpAndBury(pid);
      const revived = await revive();
      expect(revived).toMatchObject({ checkpoint: 1, pid, processes: [{ pid, name: 'revive', threads: 4 }] });
      process.kill(pid, 'SIGUSR1');
      const after = await linesAfter(before.length, 30);
      expectCounting([...before, ...after]);
      expect([...before, ...after].filter((line) => line.includes('broken'))).toEqual([]);
      const facts = (line: string) =>
        /total (\d+) alarms (\d+) ticks (\d+) handled (\d+) on (\d) hup (\d) works (\d)/
          .exec(line)!
          .slice(1)
          .map(Number);
      const [then, now] = [facts(before.at(-1)!), facts(after.at(-1)!)];
      for (const clock of [0, 1, 2]) expect(now[clock]).toBeGreaterThan(then[clock]! + 5);
      expect(then.slice(3)).toEqual([0, 0, 1, 0]);
      expect(now.slice(3)).toEqual([1, 1, 1, 1]);
      expect(readlinkSync(`/proc/${pid}/exe`)).toBe(program);
      expect(readFileSync(`/proc/${pid}/cmdline`, 'latin1')).toBe(`${program}\0work\0${output}\0`);
    });

    it('brings back a family: a pipe with unread bytes, shared memory, sessions and groups', async () => {
      const pid = await startAlone(program, 'tree', output);
      await linesAfter(0, 20);
      const [, producer, consumer] = family(pid);
      const before = await dumpAndBury(pid);
      const revived = await revive();
      expect(revived['processes']).toMatchObject([{ pid }, { pid: producer }, { pid: consumer }]);
      const after = await linesAfter(before.length, 100);
      expectCounting([...before, ...after].map((line) => line.split(' ')[0]!));
      expect(after.filter((line) => line.includes('broken'))).toEqual([]);
      expect(new Set(after.map((line) => line.slice(line.indexOf('session'))))).toEqual(
        new Set([`session ${consumer} group ${consumer}`]),
      );
      expect(family(pid)).toEqual([pid, producer, consumer]);
    });

    it('brings back what programs wait with: epoll, eventfd, timerfd, signalfd', async () => {
      const pid = await startAlone(program, 'wait', output);
      await linesAfter(0, 20);
      const before = await dumpAndBury(pid);
      await revive();
      process.kill(pid, 'SIGUSR1');
      const after = await linesAfter(before.length, 20);
      expect(after.filter((line) => line.includes('broken'))).toEqual([]);
      expect(after.at(-1)).toContain('signals 1 ');
      const counts = [...before, ...after].map((line) => Number(/count (\d+)/.exec(line)![1]));
      expectCounting(counts.map(String));
    });

    it('has the memory of the checkpoint at its first instant, but for what the kernel says of processors', async () => {
      const pid = await startAlone(program, 'work', output);
      await linesAfter(0, 10);
      await dumpAndBury(pid, '--tracker', 'compare');
      await revive('--leave-stopped');
      expect(threadStates(pid)).toBe('TTTT');
      await ckptJson('dump', '-t', `${pid}`, '-D', store, '--leave-stopped', '--tracker', 'compare');
      const show = JSON.stringify(await ckptJson('show', '-D', store, '1'));
      const areas = [...show.matchAll(/"rseq":\{"pointer":"(0x[0-9a-f]+)"/g)].map((match) =>
        BigInt(match[1]!),
      );
      expect(areas).toHaveLength(4);
      const difference = (await ckptJson('diff', '-D', store, '1', '2', '--bytes')) as unknown as Difference;
      const mappings = difference.processes.flatMap((one) => one.mappings);
      expect(mappings.filter(({ state }) => state !== 'same')).toEqual([]);
      expect(mappings.filter(({ pages }) => pages.appeared + pages.vanished > 0)).toEqual([]);
      const isOfProcessor = (address: bigint) =>
        areas.some((area) => address >= area && address < area + 32n);
      const changed = mappings.flatMap(({ ranges }) => ranges.map(({ start }) => BigInt(start)));
      expect(changed.filter((address) => !isOfProcessor(address))).toEqual([]);
      const count = lines().length;
      process.kill(pid, 'SIGCONT');
      expectCounting([...lines().slice(0, count), ...(await linesAfter(count, 10))]);
    });

    it('waits for the new process, passes signals on to it, and ends as it ends', async () => {
      const pid = await startAlone(program, 'work', output);
      await linesAfter(0, 5);
      const before = await dumpAndBury(pid);
      const run = ckpt(['restore', '-D', store, '--new'], async (waiting) => {
        await linesAfter(before.length, 5);
        process.kill(waiting, 'SIGTERM');
      });
      expect(await run).toMatchObject({ exitCode: 128 + 15, stdout: '' });
      expect(existsSync(`/proc/${pid}`)).toBe(false);
    });

    it('goes on with python3 and its threads', async () => {
      const script = join(work, 'threads.py');
      writeFileSync(script, PYTHON);
      const pid = await startAlone('python3', script, output);
      await linesAfter(0, 10);
      const before = await dumpAndBury(pid);
      await revive();
      const all = [...before, ...(await linesAfter(before.length, 30))];
      expectCounting(all);
      expect(all.filter((line) => !line.endsWith('fine'))).toEqual([]);
      const total = (line: string | undefined) => Number(line?.split(' ')[1]);
      expect(total(all.at(-1))).toBeGreaterThan(total(before.at(-1)) + 10);
    });

    it('goes on with node: workers, timers, its event loop', async () => {
      const script = join(work, 'worker.cjs');
      writeFileSync(script, NODE);
      const pid = await startAlone(process.execPath, script, output);
      await linesAfter(0, 10);
      const before = await dumpAndBury(pid);
      await revive();
      const after = await linesAfter(before.length, 30);
      expectCounting([...before, ...after]);
      expect(after.filter((line) => line.includes('broken'))).toEqual([]);
      const heard = (line: string) => Number(line.split(' ')[2]);
      expect(heard(after.at(-1)!)).toBeGreaterThan(heard(before.at(-1)!) + 20);
    });

    it('goes on with a pipeline of a shell, and a file where it was', async () => {
      const script = `(n=0; while :; do n=$((n+1)); echo $n; sleep 0.01; done) | while read n; do echo $n; done > ${output}`;
      const pid = await startAlone('sh', '-c', script);
      await linesAfter(0, 10);
      const before = await dumpAndBury(pid);
      await revive();
      expectCounting([...before, ...(await linesAfter(before.length, 30))]);
    });

    it('comes back from any checkpoint of a chain', async () => {
      const pid = await startAlone(program, 'work', output);
      await linesAfter(0, 5);
      const early = lines().length;
      await ckptJson('dump', '-t', `${pid}`, '-D', store);
      const first = lines().length;
      await linesAfter(first, 5);
      await ckptJson('dump', '-t', `${pid}`, '-D', store, '--incremental', '--leave-stopped');
      await bury([pid]);
      const second = lines().length;
      await revive('--at', '1', '--force');
      const again = await linesAfter(second, 10);
      await bury([pid]);
      const numbers = again.map((line) => Number.parseInt(line, 10));
      expect(numbers[0]).toBeGreaterThan(early);
      expect(numbers[0]).toBeLessThanOrEqual(first + 1);
      expectCounting(again);
      const third = lines().length;
      await revive('--at', '2', '--force');
      expectCounting([...lines().slice(0, second), ...(await linesAfter(third, 10))]);
    });

    it('names what it cannot make anew, all at once, and starts nothing', async () => {
      const pid = await startAlone(program, 'things', output);
      await linesAfter(0, 1);
      await dumpAndBury(pid);
      const run = await ckpt(['restore', '-D', store, '--new', '--detach']);
      expect(run).toMatchObject({ exitCode: 13, stdout: '' });
      for (const message of [
        /descriptor 4 is a socket \(socket:\[\d+\]\)\n/,
        /descriptor 5 is a memory file \(\/memfd:thing \(deleted\)\)\n/,
        /descriptor 6 is an inotify watch/,
        /descriptor 7 is the deleted file .*output.gone/,
        /the System V segment \/SYSV00000000 \(deleted\) cannot be attached again/,
        /descriptor 8 is a pipe \(pipe:\[\d+\]\) whose other end another process had; forced/,
        /hint: CRIU/,
      ]) {
        expect(run.stderr).toMatch(message);
      }
      expect(existsSync(`/proc/${pid}`)).toBe(false);
    });

    it('refuses a PID that is taken, a changed file and a missing one', async () => {
      const pid = await startAlone(program, 'work', output);
      await linesAfter(0, 5);
      await ckptJson('dump', '-t', `${pid}`, '-D', store);
      const taken = await ckpt(['restore', '-D', store, '--new', '--detach', '--force']);
      expect(taken.exitCode).toBe(13);
      expect(taken.stderr).toContain(`process ${pid}: its PID is taken by revive now`);
      expect(taken.stderr).toContain('hint: end what has it now, or restore where all PIDs are free');
      await linesAfter(lines().length, 5);
      await bury([pid]);
      const dry = await ckpt(['restore', '-D', store, '--new', '--dry-run', '--json']);
      expect(dry.exitCode).toBe(13);
      expect(JSON.parse(dry.stdout)).toMatchObject({
        checkpoint: 1,
        processes: [{ pid, threads: 4 }],
        obstacles: [{ pid, forcible: true }],
      });
      const changed = await ckpt(['restore', '-D', store, '--new', '--detach']);
      expect(changed.exitCode).toBe(13);
      expect(changed.stderr).toMatch(
        /descriptor 3: .*output has changed \(\d+ bytes then, \d+ now\)\nhint: --force/,
      );
      rmSync(output);
      const missing = await ckpt(['restore', '-D', store, '--new', '--detach', '--force']);
      expect(missing.exitCode).toBe(13);
      expect(missing.stderr).toMatch(/descriptor 3: .*output is gone/);
      expect(existsSync(`/proc/${pid}`)).toBe(false);
    });

    it('leaves no half-made process when ckpt is killed at any moment', async () => {
      const pid = await startAlone(program, 'tree', output);
      await linesAfter(0, 10);
      const pids = family(pid);
      await dumpAndBury(pid);
      const restore = ['restore', '-D', store, '--new', '--detach', '--force'];
      const started = performance.now();
      await ckpt(restore);
      const whole = performance.now() - started;
      await bury(pids);
      for (let round = 0; round < 9; round++) {
        await ckpt(restore, async (restoring) => {
          await delay(whole * (0.45 + round * 0.06));
          killQuietly(restoring);
        });
        const count = lines().length;
        const alive = () =>
          pids.filter((one) => existsSync(`/proc/${one}`) && !/[ZX]/.test(threadStates(one)));
        await until('either all or nothing', 5000, () => [0, pids.length].includes(alive().length));
        await delay(20);
        expect([0, pids.length]).toContain(alive().length);
        if (alive().length > 0) await linesAfter(count, 3);
        await bury(pids);
      }
    });

    it('lives beside the original, under the same PIDs, in a PID namespace of its own', async () => {
      const pid = await startAlone(program, 'tree', output);
      await linesAfter(0, 5);
      await ckptJson('dump', '-t', `${pid}`, '-D', store);
      born.push(...family(pid));
      const count = lines().length;
      const namespace = ['--pid', '--fork', '--kill-child', '--mount-proc', process.execPath];
      const restore = [
        resolve(import.meta.dirname, '../../bin/ckpt.js'),
        'restore',
        '-D',
        store,
        '--new',
        '--force',
      ];
      const beside = spawn('unshare', [...namespace, ...restore], { stdio: 'ignore' });
      shells.push(beside);
      await until('each number twice', 20_000, () => {
        const after = lines().slice(count);
        return after.length - new Set(after).size > 10;
      });
      expect(lines().filter((line) => line.includes('broken'))).toEqual([]);
    });

    it('finishes what was begun before: a pipeline of gzip, without a byte lost', async () => {
      const [source, packed] = [join(work, 'source'), join(work, 'packed.gz')];
      const text = Array.from(
        { length: 1_000_000 },
        (_, index) => `${index * 7919} line ${index % 977}\n`,
      ).join('');
      writeFileSync(source, text);
      const pid = await startAlone(
        'sh',
        '-c',
        `gzip -9 -c ${source} | cat > ${packed}; echo 1 done > ${output}`,
      );
      await until(
        'the first compressed bytes',
        10_000,
        () => existsSync(packed) && statSync(packed).size > 0,
      );
      await dumpAndBury(pid);
      expect(existsSync(output)).toBe(false);
      await revive();
      await until('the end of the pipeline', 60_000, () => lines().length > 0);
      expect(gunzipSync(readFileSync(packed)).toString() === text).toBe(true);
    });

    it('keeps users, groups, capabilities, limits, places, descriptors and mappings', async () => {
      chmodSync(work, 0o755);
      writeFileSync(output, '');
      chmodSync(output, 0o666);
      const rights = ['--reuid', '65534', '--regid', '65534', '--groups', '1,2', '--no-new-privs'];
      const capabilities = ['--inh-caps', '+chown', '--ambient-caps', '+chown', '--bounding-set', '-net_raw'];
      const command = 'umask 027; ulimit -Sn 200; ulimit -c 0; cd /usr; exec nice -n 5 setpriv "$@"';
      const pid = await startAlone(
        ...['bash', '-c', command, 'bash', ...rights, ...capabilities, program, 'wait', output],
      );
      await linesAfter(0, 5);
      await ckptJson('dump', '-t', `${pid}`, '-D', store, '--leave-stopped', '--tracker', 'compare');
      const before = portrait(pid);
      expect(before['status']).toContain('Uid:\t65534\t65534\t65534\t65534');
      await bury([pid]);
      await revive('--leave-stopped');
      expect(portrait(pid)).toEqual(before);
    });

    it('goes on with sqlite, its shared memory and its locks', async () => {
      const script = join(work, 'database.py');
      writeFileSync(script, SQLITE);
      const pid = await startAlone('python3', script, output, join(work, 'test.db'));
      await linesAfter(0, 10);
      const before = await dumpAndBury(pid);
      await revive();
      const all = [...before, ...(await linesAfter(before.length, 30))];
      expectCounting(all);
      expect(all.filter((line) => !line.endsWith('ok'))).toEqual([]);
      expect(readFileSync('/proc/locks', 'latin1')).toMatch(new RegExp(`POSIX .* ${pid} `));
    });

    it('gives a job its terminal: it reads, Ctrl-C ends it, and the shell learns how', () => {
      const script = resolve(import.meta.dirname, 'terminal-job.py');
      const ckptProgram = resolve(import.meta.dirname, '../../bin/ckpt.js');
      const result = execFileSync('python3', [script, process.execPath, ckptProgram, store], {
        encoding: 'utf8',
        timeout: 60_000,
      });
      const { job, group, foreground, status } = JSON.parse(result);
      expect({ group, foreground, status }).toEqual({ group: job, foreground: job, status: 130 });
    });
  },
);
