// Runs in the guest. Proves on its kernel what ckpt does to live processes, and prints a line of JSON for each proof:
// {"proof": name, ...}, or {"proof": name, "error": text}. Everything happens in one Node, without threads of ckpt's:
// each start of one takes an emulated machine seconds.
// Argument: the trackers to prove, separated by commas.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, openSync, readdirSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { readMemory, readRestored } from './read-memory.mjs';

const root = process.env.CKPT_ROOT ?? '/ckpt';
const programs = process.env.CKPT_PROGRAMS ?? '/bin';
const work = process.env.CKPT_WORK ?? '/tmp/proofs';
const { describeCheckpoint, dumpTarget, restoreToDirectory } = await import(
  `${root}/dist/checkpoint/index.js`
);
const { TraceReader } = await import(`${root}/dist/migration/index.js`);
const { main } = await import(`${root}/dist/cli/main.js`);

const DELTAS = 10;
const PROOF_LIMIT_MS = 400_000;
const store = `${work}/store`;

/** Runs a command line in this very process. */
async function ckptJson(...args) {
  const texts = { stdout: '', stderr: '' };
  const stream = (name) => ({ write: (text) => (texts[name] += text) });
  const status = await main([...args, '--json'], {
    stdout: stream('stdout'),
    stderr: stream('stderr'),
    variables: {},
  });
  if (status !== 0) throw new Error(`ckpt ${args.join(' ')}: ${status}, ${texts.stderr}${texts.stdout}`);
  return JSON.parse(texts.stdout);
}

async function dump(pid, options = {}) {
  const [result] = await dumpTarget({
    ...{ target: `${pid}`, storeDirectory: store, incremental: false, codec: 'none', workers: 0 },
    ...options,
  });
  return result;
}

async function until(what, condition) {
  for (const deadline = Date.now() + 60_000; !condition(); await delay(2)) {
    if (Date.now() > deadline) throw new Error(`${what}: not in time`);
  }
}

const exists = (path) => statSync(path, { throwIfNoEntry: false }) !== undefined;

/** Runs a script whose first line of output is a PID. Node would take stops by ptrace of its own children for their end. */
async function startApart(script) {
  const shell = spawn('/bin/sh', ['-c', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const { value } = await createInterface({ input: shell.stdout })[Symbol.asyncIterator]().next();
  return Number(value);
}

/** FIFOs to talk by lines, as in a pipeline of a shell: what Node calls a pipe is a connection, which cannot be rewound. */
function openConversation(name) {
  const [input, output] = [`${work}/${name}.in`, `${work}/${name}.out`];
  execFileSync('mkfifo', [input, output]);
  // Both ways, since an end alone would wait for the other.
  const toProgram = openSync(input, 'r+');
  const socket = new Socket({ fd: openSync(output, 'r+'), writable: false });
  const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  const line = async () => (await lines.next()).value;
  const ask = (text) => {
    writeSync(toProgram, `${text}\n`);
    return line();
  };
  return { redirections: `<${input} >${output}`, line, ask };
}

/** The children of a process, none if it has ended. */
function childrenOf(pid) {
  try {
    const tasks = readdirSync(`/proc/${pid}/task`).map((tid) => `/proc/${pid}/task/${tid}/children`);
    return tasks.flatMap((file) => readFileSync(file, 'latin1').split(' ').filter(Boolean).map(Number));
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return [];
    throw error;
  }
}

/** PIDs of a process and its descendants. */
function treeOf(pid) {
  const tree = [pid];
  for (const each of tree) tree.push(...childrenOf(each));
  return tree;
}

const threadsOf = (pids) =>
  pids.flatMap((pid) => readdirSync(`/proc/${pid}/task`).map((tid) => `${pid}/task/${tid}`));
const isStopped = (thread) => /^State:\s*T/m.test(readFileSync(`/proc/${thread}/status`, 'latin1'));
const nameOf = (pid) => readFileSync(`/proc/${pid}/comm`, 'latin1').trim();

async function endOf(pids) {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      // One that was told to end may have done so by now.
      if (error.code !== 'ESRCH') throw error;
    }
  }
  await until('the end of processes', () => !pids.some((pid) => exists(`/proc/${pid}`)));
}

/** Where the kernel itself writes when a thread goes on: [address, bytes]. */
async function rseqAreas() {
  const { state } = await describeCheckpoint(store, 'latest');
  const areas = state.processes.flatMap(({ threads }) => threads.map(({ rseq }) => rseq));
  return areas.filter(Boolean).map(({ pointer, sizeBytes }) => [Number(pointer), sizeBytes]);
}

/** The mappings that a restore has wrong. */
function differences(directory, expected, ignored) {
  const { digests, empty } = readRestored(directory, ignored);
  return Object.keys({ ...expected, ...digests }).filter((name) =>
    expected[name] === undefined ? !empty.includes(name) : expected[name] !== digests[name],
  );
}

/** Takes a base and ten deltas of a tree, looking at its memory in each stop; when it has ended, restores every one. */
async function followAndRestore(pid, tracker, between, end) {
  const started = Date.now();
  const seen = [];
  const results = [];
  let ignored = [];
  let threads = '';
  for (let index = 0; index <= DELTAS; index++) {
    results.push(await dump(pid, { tracker, incremental: index > 0, leaveStopped: true }));
    const pids = treeOf(pid);
    const threadsNow = threadsOf(pids);
    await until('rest', () => threadsNow.every(isStopped));
    if (threadsNow.join() !== threads) ignored = [...ignored, ...(await rseqAreas())];
    threads = threadsNow.join();
    seen.push(pids.map((each) => ({ pid: each, name: nameOf(each), memory: readMemory(each, ignored) })));
    for (const each of pids) process.kill(each, 'SIGCONT');
    await between(index + 1);
  }
  const dumped = Date.now();
  const lastWords = await end();
  const wrong = [];
  const out = `${work}/restored`;
  for (const [index, processes] of seen.entries()) {
    await restoreToDirectory({
      storeDirectory: store,
      checkpoint: index + 1,
      outputDirectory: out,
      workers: 0,
    });
    for (const { pid: each, name, memory } of processes) {
      const mappings = differences(`${out}/${each}`, memory, ignored);
      wrong.push(...mappings.map((mapping) => `checkpoint ${index + 1}: ${name} ${mapping}`));
    }
    rmSync(out, { recursive: true });
  }
  const names = [...new Set(seen.flat().map(({ name }) => name))];
  const versions = names.map((name) => {
    const texts = seen.map((processes) =>
      JSON.stringify(processes.filter((one) => one.name === name).map(({ memory }) => memory)),
    );
    return [name, new Set(texts).size];
  });
  return {
    trackers: results.map((result) => result.tracker),
    warnings: results.flatMap(({ warnings }) => warnings),
    pages: results.map(({ pages: { present, dirty } }) => ({ present, dirty })),
    processes: seen.map((processes) => processes.length),
    versions: Object.fromEntries(versions),
    wrong,
    ...lastWords,
    secondsOfDumps: (dumped - started) / 1000,
  };
}

const output = `${work}/output`;
const outputLines = () => readFileSync(output, 'latin1').trimEnd().split('\n');
const hasOutput = () => exists(output) && statSync(output).size > 200;

/**
 * A shell with programs below it that do to their memory whatever can be done, each in its own way: two when they are
 * told, threads that check sums of theirs and a family with pipes and shared memory as they like.
 */
async function follow(tracker) {
  const told = ['shifter', 'stirrer'].map((name) => ({ name, ...openConversation(name) }));
  const summing = openConversation('checksum');
  const pid = await startApart(`
    (${told.map(({ name, redirections }) => `${programs}/${name} ${redirections} &`).join(' ')}
    ${programs}/checksum 1 2 300 ${summing.redirections} &
    ${programs}/revive tree ${output} </dev/null >/dev/null 2>&1 &
    wait) </dev/null >/dev/null & echo $!; wait`);
  for (const { line } of [...told, summing]) await line();
  await until('output of the family', hasOutput);
  const change = async (round) => {
    for (const { ask } of told) await ask(`${round} 4`);
  };
  return followAndRestore(pid, tracker, change, async () => {
    const sums = await summing.ask('end');
    await endOf(treeOf(pid));
    const family = outputLines();
    return { sums, family: family.length, broken: family.filter((line) => line.includes('broken')) };
  });
}

const CHANGES = [
  ...['write', 'discard', 'unmap', 'unshare', 'map', 'replace', 'move', 'protect', 'grow', 'stack', 'seek'],
  ...['fill', 'count', 'handler', 'mask', 'signal', 'altstack', 'timers', 'umask', 'limit', 'thread'],
];

async function rewind() {
  mkdirSync(`${work}/rewinder`);
  const { redirections, line, ask } = openConversation('rewinder');
  const pid = await startApart(`${programs}/rewinder ${work}/rewinder ${redirections} & echo $!; wait`);
  await line();
  const before = await ask('state');
  await dump(pid);
  for (const word of CHANGES) await ask(word);
  const changed = await ask('state');
  const { outcome, obstacles } = await ckptJson('restore', '--in-place', '-t', `${pid}`, '-D', store);
  const after = await ask('state');
  await endOf([pid]);
  return { outcome, obstacles, before, changed, after };
}

/** A program that counts its lines, dumped, killed and made anew. */
async function revive(mode) {
  const pid = await startApart(
    `${programs}/revive ${mode} ${output} </dev/null >/dev/null 2>&1 & echo $!; wait`,
  );
  await until('output', hasOutput);
  const pids = treeOf(pid);
  await dump(pid, { leaveStopped: true });
  await endOf(pids);
  const before = outputLines().length;
  const { processes } = await ckptJson('restore', '--new', '--detach', '-D', store);
  await until('more output', () => outputLines().length > before + 20);
  await endOf(treeOf(pid));
  return { pids, revived: processes.map((one) => one.pid), before, lines: outputLines() };
}

/** A program that keeps sums of its memory is recorded: what its steps say was written. */
async function record(tracker) {
  const { redirections, line, ask } = openConversation('checksum');
  const pid = await startApart(`${programs}/checksum 1 2 300 ${redirections} & echo $!; wait`);
  await line();
  const file = `${work}/trace`;
  const times = ['--interval', '100ms', '--duration', '2s'];
  const result = await ckptJson('record', '-t', `${pid}`, '--tracker', tracker, ...times, '-o', file);
  const written = [];
  const reader = await TraceReader.open(file);
  for await (const { processes } of reader.steps()) written.push(processes[0].written.pageCount);
  const sums = await ask('end');
  await endOf([pid]);
  return { tracker: result.tracker, residentPages: result.residentPages, written, sums };
}

async function prove(proof, act) {
  const started = Date.now();
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work);
  try {
    const late = delay(PROOF_LIMIT_MS).then(() => Promise.reject(new Error('it did not come to an end')));
    const result = await Promise.race([act(), late]);
    console.log(JSON.stringify({ proof, seconds: (Date.now() - started) / 1000, ...result }));
  } catch (error) {
    console.log(JSON.stringify({ proof, error: `${error.stack}` }));
  }
}

await prove('check', () => ckptJson('check'));
for (const tracker of process.argv[2].split(',')) {
  await prove(tracker, () => follow(tracker));
  await prove(`record ${tracker}`, () => record(tracker));
}
await prove('rewind', rewind);
await prove('revive work', () => revive('work'));
await prove('revive tree', () => revive('tree'));
process.exit(0);
