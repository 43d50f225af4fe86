import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { atMost, type Findings, median } from './findings.ts';
import { type DumpJson, isInstalled, runCkpt, settleDisks, timeProgram } from './processes.ts';

const MEBIBYTES = 512;
const PAGES = MEBIBYTES * 256;
const ROUNDS = 3;
const DIRTY_SHARES = [0.001, 0.01, 0.1];
const FREEZE_AIM_MS = 10;

/** A program with much memory that changes what it is told to, and knows how long it stood still. */
class PagesProgram {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  }

  static async start(directory: string): Promise<PagesProgram> {
    const binary = join(directory, 'pages');
    // npm runs scripts in the project's folder, wherever this file was compiled to.
    execFileSync('gcc', ['-O2', '-pthread', '-o', binary, resolve('test/bench/pages.c')]);
    const program = new PagesProgram(spawn(binary, [`${MEBIBYTES}`], { stdio: ['pipe', 'pipe', 'inherit'] }));
    await program.#line();
    return program;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Has it change pages. */
  async touch(pages: number): Promise<void> {
    this.#child.stdin!.write(`touch ${pages}\n`);
    await this.#line();
  }

  /** The longest that it stood still since it was last asked, in milliseconds. */
  async gapMilliseconds(): Promise<number> {
    this.#child.stdin!.write('gap\n');
    return Number(await this.#line()) / 1000;
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }

  async #line(): Promise<string> {
    const { done, value } = await this.#lines.next();
    if (done === true) throw new Error('the program with many pages has ended');
    return value;
  }
}

/** Time that a whole run took, and how long the program felt itself standing still. */
interface Measured {
  readonly seconds: number;
  readonly gapMilliseconds: number;
}

async function measured(program: PagesProgram, run: () => unknown): Promise<Measured> {
  settleDisks();
  await program.gapMilliseconds();
  const start = performance.now();
  await run();
  return { seconds: (performance.now() - start) / 1000, gapMilliseconds: await program.gapMilliseconds() };
}

/** Full and incremental dumps of a live program, beside gcore and CRIU. */
export async function benchTracking(findings: Findings, directory: string): Promise<void> {
  findings.begin('tracking');
  if (!isInstalled('gcc')) return findings.skip('everything', 'gcc is not installed');
  const program = await PagesProgram.start(directory);
  try {
    const full = await benchFull(findings, directory, program);
    await benchOthers(findings, directory, program, full);
    for (const share of DIRTY_SHARES) await benchIncremental(findings, directory, program, full, share);
  } finally {
    await program.kill();
  }
}

const storeIn = (directory: string) => join(directory, 'tracking');

async function benchFull(findings: Findings, directory: string, program: PagesProgram): Promise<Measured> {
  const runs: Measured[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    rmSync(storeIn(directory), { recursive: true, force: true });
    runs.push(
      await measured(program, () => runCkpt('dump', '-t', `${program.pid}`, '-D', storeIn(directory))),
    );
  }
  return report(findings, `full dump of ${MEBIBYTES} MiB`, runs);
}

function report(findings: Findings, what: string, runs: readonly Measured[]): Measured {
  const seconds = median(runs.map((run) => run.seconds));
  const gapMilliseconds = median(runs.map((run) => run.gapMilliseconds));
  findings.add(what, seconds, 's');
  findings.add(`${what}, stood still`, gapMilliseconds, 'ms');
  return { seconds, gapMilliseconds };
}

async function benchOthers(
  findings: Findings,
  directory: string,
  program: PagesProgram,
  full: Measured,
): Promise<void> {
  const core = join(directory, 'core');
  const images = join(directory, 'images');
  const dumpByCriu = ['dump', '--leave-running', '--shell-job', '-D', images, '-t', `${program.pid}`];
  const tools = {
    gcore: { problem: gcoreProblem(), run: () => timeProgram('gcore', ['-o', core, `${program.pid}`]) },
    'criu dump --leave-running': { problem: criuProblem(), run: () => timeProgram('criu', dumpByCriu) },
  };
  for (const [name, { problem, run }] of Object.entries(tools)) {
    if (problem !== undefined) {
      findings.skip(name, problem);
      continue;
    }
    const runs: Measured[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      mkdirSync(images, { recursive: true });
      runs.push(await measured(program, run));
      rmSync(images, { recursive: true, force: true });
      rmSync(`${core}.${program.pid}`, { force: true });
    }
    const other = report(findings, name, runs);
    findings.add(`full dump / ${name}, time`, full.seconds / other.seconds, 'x');
    findings.add(
      `full dump / ${name}, stood still`,
      full.gapMilliseconds / other.gapMilliseconds,
      'x',
      atMost(1),
    );
  }
}

function gcoreProblem(): string | undefined {
  return isInstalled('gcore') ? undefined : 'it is not installed (package gdb)';
}

function criuProblem(): string | undefined {
  if (!isInstalled('criu') && !statSync('/usr/sbin/criu', { throwIfNoEntry: false }))
    return 'it is not installed';
  const { status, stderr } = spawnSync('criu', ['check'], { encoding: 'utf8', timeout: 10_000 });
  if (status === 0) return undefined;
  const complaints = [...stderr.matchAll(/Error \([^)]*\): (.*)/g)].map(([, text]) => text!);
  return `'criu check' fails: ${complaints.find((text) => !text.startsWith('exited')) ?? 'no reason given'}`;
}

async function benchIncremental(
  findings: Findings,
  directory: string,
  program: PagesProgram,
  full: Measured,
  share: number,
): Promise<void> {
  const runs: (Measured & { readonly dump: DumpJson })[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await program.touch(Math.round(PAGES * share));
    let dump: DumpJson | undefined;
    const run = await measured(program, async () => {
      const { json } = await runCkpt(
        'dump',
        '-t',
        `${program.pid}`,
        '-D',
        storeIn(directory),
        '--incremental',
      );
      dump = json as DumpJson;
    });
    runs.push({ ...run, dump: dump! });
  }
  const name = `incremental, ${share * 100} % changed (${runs[0]!.dump.tracker})`;
  const measuredRun = report(findings, name, runs);
  const beyondCopying = median(
    runs.map(({ dump: { microseconds } }) => (microseconds.freeze - microseconds.read) / 1000),
  );
  findings.add(`${name}, freeze beyond copying`, beyondCopying, 'ms', atMost(FREEZE_AIM_MS));
  findings.add(`${name} / full, time`, (100 * measuredRun.seconds) / full.seconds, '%');
}
