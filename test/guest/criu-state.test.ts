import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openImageDirectory } from '../../src/interop/criu/images/directory.ts';
import { memoryOfImages } from '../../src/interop/criu/state/memory-of-images.ts';
import { stateOf } from '../../src/interop/criu/state/state-of.ts';
import { ImageFile } from '../../src/interop/index.ts';
import { decodeLiveState, type LiveState, namedRegisters } from '../../src/target/index.ts';
import { ckpt, ckptJson } from '../system/command.ts';
import {
  type Confession,
  expectFiles,
  expectSignals,
  expectThreads,
  expectTimers,
} from '../system/confession.ts';
import { criuObstacle, runWithCriu } from './criu.ts';
import { programFiles } from './harness.ts';

const source = (name: string) => resolve(import.meta.dirname, `../system/${name}.c`);

/** One program counts lines, and is dumped after the first and, to its end, after the second. The other says what it is. */
const SCRIPT = `
# begins NAME COMMAND...: a program that reads the lines that are written to descriptor 9.
begins() {
  name=$1
  shift
  mkfifo "/work/$name.in"
  exec 9<>"/work/$name.in"
  (setsid sh -c 'echo $$ > "/work/$0.pid"; exec "$@"' "$name" "$@" <"/work/$name.in" >"/work/$name.out" 2>&1 &)
}
says() {
  for waited in $(seq 200); do
    ! tail -n 1 "/work/$name.out" | grep -qx "$1" || return 0
    sleep 0.05
  done
  cat "/work/$name.out"
  exit 1
}
begins specimen "$SPECIMEN"
says ready
PID=$(cat /work/specimen.pid)
echo >&9
says 1
incremental /out/specimen 1 'dump --leave-running'
echo >&9
says 2
incremental /out/specimen 2 dump
gone "$PID"

mkdir /work/directory
begins whole-state "$WHOLE_STATE" /work/directory
says end
PID=$(cat /work/whole-state.pid)
until grep -q '^0 ' "/proc/$PID/syscall"; do sleep 0.05; done
incremental /out/whole-state 1 dump
cp /work/whole-state.out /out/said
`;

const obstacle =
  criuObstacle() ?? (spawnSync('gdb', ['--version']).status === 0 ? undefined : 'gdb is not installed');
/** Of host and guest alike; the guest has file systems of its own at /tmp. */
const work = mkdtempSync('/var/tmp/ckpt-criu-core-');
const [program, wholeState] = [join(work, 'specimen'), join(work, 'whole-state')];
const [images, store] = [join(work, 'images'), join(work, 'store')];
afterAll(() => rmSync(work, { recursive: true }));

const MARK = '=== here the answers begin';

/** What gdb answers to commands about a checkpoint. */
async function ask(checkpoint: number, ...commands: readonly string[]): Promise<string> {
  const asked = [`echo ${MARK}\\n`, ...commands].flatMap((command) => ['-ex', command]);
  const { stdout, stderr, exitCode } = await ckpt(
    ['gdb', '-D', store, `${checkpoint}`, '--', '-nx', '-batch', '-iex', 'set debuginfod enabled off'].concat(
      asked,
    ),
  );
  expect(stderr).not.toContain('ckpt:');
  expect(stderr).not.toMatch(/is not there|not the \w+ any more|nothing tells/);
  expect(exitCode).toBe(0);
  return stdout.slice(stdout.indexOf(MARK) + MARK.length + 1);
}

beforeAll(async () => {
  if (obstacle !== undefined) return;
  execFileSync('gcc', ['-g', '-O1', '-pthread', '-o', program, source('core-specimen')]);
  execFileSync('gcc', ['-O1', '-pthread', '-o', wholeState, source('whole-state')]);
  const { stdout, exitCode } = await runWithCriu({
    script: `SPECIMEN=${program}\nWHOLE_STATE=${wholeState}\n${SCRIPT}`,
    files: { ...programFiles(program, program), ...programFiles(wholeState, wholeState) },
    output: images,
  });
  expect(exitCode, stdout).toBe(0);
  mkdirSync(join(work, 'cores'));
  await ckptJson('import', join(images, 'specimen/2'), '-D', store, '--chain');
});

describe.skipIf(obstacle !== undefined)(`the state of a program (${obstacle ?? 'all there'})`, () => {
  let [facts, state]: [Confession, LiveState | undefined] = [new Map(), undefined];
  beforeAll(async () => {
    const lines = readFileSync(join(images, 'said'), 'utf8').trim().split('\n');
    facts = new Map(lines.map((text) => text.split(' ')).map(([name = '', ...words]) => [name, words]));
    const directory = await openImageDirectory(join(images, 'whole-state/1'));
    const { state: found } = await stateOf(directory, memoryOfImages([directory]));
    state = decodeLiveState(found!.bytes, 'the state');
  });

  it('is what it says of itself, although CRIU has taken it', () => {
    const process = state!.processes[0]!;
    expect(process).toMatchObject({
      ...{ parentPid: 0, commandLine: [wholeState, '/work/directory'], umask: 0o27, seccompMode: 0 },
      exe: { path: wholeState, sizeBytes: statSync(wholeState).size },
      layout: { brk: facts.get('brk')?.[0] },
      ...{ workingDirectory: '/', root: '/', terminal: null },
    });
    expect(process.limits).toContainEqual({ resource: 7, soft: '0x1f4', hard: '0x258' });
    expect(state!.processes).toHaveLength(1);
  });

  it('has its signals, threads, timers and files', () => {
    expectSignals(facts, state!);
    expectThreads(facts, state!);
    expectTimers(state!);
    expectFiles(facts, state!, '/work/directory', { hasInodes: false });
  });

  it('has the registers of threads in their own code, and of those that wait in the kernel', () => {
    const [main, waiter, spinner] = state!.processes[0]!.threads.map(({ registers, systemCall }) => ({
      systemCall,
      named: new Map(namedRegisters('x86_64', registers!.general)),
      vectors: Buffer.from(registers!.floatingPoint, 'base64').subarray(160),
    }));
    const place = spinner!.named.get('rip')!;
    expect(place).toBeGreaterThanOrEqual(BigInt(facts.get('spinBegin')![0]!));
    expect(place).toBeLessThan(BigInt(facts.get('spinEnd')![0]!));
    expect(spinner!.named.get('r12')).toBe(0x1122334455667788n);
    expect(spinner!.vectors.readBigInt64LE(5 * 16)).toBe(0x1122334455667788n);
    expect([main, waiter, spinner].map((thread) => thread!.systemCall)).toEqual([0, 202, null]);
    // Rewound: the thread makes its call again by itself.
    expect(main!.named.get('rax')).toBe(0n);
  });
});

describe.skipIf(obstacle !== undefined)(`cores of what CRIU dumped (${obstacle ?? 'all there'})`, () => {
  it('have backtraces of all threads, out of the vDSO, too', async () => {
    const backtraces = await ask(2, 'info threads', 'thread apply all bt');
    expect(backtraces).toMatch(/\bread\b[\s\S]*in main \(argc=1, /);
    expect(backtraces).toMatch(/\bpause\b[\s\S]*waits_for_a_signal \(depth=depth@entry=3\)[\s\S]*in patient/);
    expect(backtraces).toMatch(/asks_the_clock \(\)[\s\S]*in restless[\s\S]*in start_thread/);
    expect(backtraces.match(/^Thread \d/gm)).toHaveLength(3);
  });

  it('have the variables of their moment', async () => {
    for (const counter of [1, 2]) {
      const answers = await ask(counter, 'print global', 'print global.list->next->next->value');
      expect(answers).toMatch(
        new RegExp(`counter = ${counter}, name = 0x[0-9a-f]+ "specimen", ratio = 2.5, list`),
      );
      expect(answers).toMatch(/\$2 = 3\n$/);
    }
  });

  it('have the registers that CRIU has recorded', async () => {
    const { threads } = await firstEntry('pstree.img');
    for (const [index, id] of (threads as number[]).entries()) {
      const { gpregs, fpregs } = (await firstEntry(`core-${id}.img`))['thread_info'] as Record<
        'gpregs' | 'fpregs',
        Record<string, unknown>
      >;
      const xmm = fpregs['xmm_space'] as number[];
      const thread = `thread ${index + 1}`;
      const names = ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'r8', 'r12', 'r15', 'rip', 'rsp', 'rbp'];
      const answers = await ask(
        2,
        thread,
        ...[...names, 'fs_base', 'orig_rax', 'eflags'].map((name) => `output/x $${name}`).flatMap(line),
        ...[1, 7, 12].flatMap((register) => line(`output/x $xmm${register}.v4_int32`)),
      );
      const expected = [
        ...names.map((name) => gpregs[name.replace(/^r(?=[a-ds]|ip|bp)/, '')]),
        ...[gpregs['fs_base'], gpregs['orig_ax'], gpregs['flags']],
      ].map((value) => `0x${BigInt(String(value)).toString(16)}`);
      const vectors = [1, 7, 12].map((register) => {
        const words = xmm.slice(register * 4, register * 4 + 4).map((word) => `0x${word.toString(16)}`);
        return `{${words.join(', ')}}`;
      });
      expect(answers.trimEnd().split('\n').slice(-18).map(unrepeated)).toEqual([...expected, ...vectors]);
    }
  });

  it('are found to be of the program and the libraries that are here', async () => {
    const { warnings, pages } = await ckptJson(
      ...['restore', '-D', store, '--at', '1', '--format', 'core', '-o', join(work, 'cores/1')],
    );
    expect(warnings).toEqual([]);
    expect(pages).toBeGreaterThan(10);
    const answers = await ask(1, 'info sharedlibrary', 'info auxv', 'info proc mappings');
    expect(answers).toMatch(/Yes .*libc\.so\.6/);
    expect(answers).toMatch(/AT_ENTRY/);
    expect(answers).toContain(program);
  });
});

/** gdb prints what is there several times as `0x0 <repeats 3 times>`, and an answer on a line. */
function unrepeated(text: string): string {
  return text.replace(/(0x[0-9a-f]+) <repeats (\d+) times>/g, (_match, value: string, count: string) =>
    Array.from({ length: Number(count) }, () => value).join(', '),
  );
}

const line = (command: string) => [command, 'echo \\n'];

/** The first entry of an image of the second dump. */
async function firstEntry(name: string): Promise<Record<string, unknown>> {
  const image = await ImageFile.open(join(images, 'specimen/2', name));
  for await (const { message } of image.entries()) return message;
  throw new Error(`${name} is empty`);
}
