// Runs in the guest, and on the machine itself. Follows a program with a tracker for many rounds, keeping a copy of its
// memory that is updated with nothing but what the tracker names, and compares the copy with the whole memory each time.
// Arguments: program, tracker, rounds, operations a round, and what else to say to the program: {"round": "line"}.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const root = process.env.CKPT_ROOT ?? '/ckpt';
const { openLiveTarget, selectMappings } = await import(`${root}/dist/target/index.js`);
const { chooseTracker, compareTracker } = await import(`${root}/dist/tracker/index.js`);
const { PageRangeList } = await import(`${root}/dist/core/index.js`);

const [program, wanted, rounds, operations, extra = '{}'] = process.argv.slice(2);
const commands = JSON.parse(extra);
// As a grandchild: Node waits for its own children, and would take a stop by ptrace in this very process for their end.
const script = 'exec 3<&0; "$0" <&3 & exec 3<&-; echo $!; wait';
const child = spawn('/bin/sh', ['-c', script, program], { stdio: ['pipe', 'pipe', 'inherit'] });
child.on('exit', (code, signal) => console.log(`the program ended: ${code ?? signal}`));
const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
const pid = Number((await lines.next()).value);
await lines.next();

const target = await openLiveTarget(pid, { single: true });
const { tracker, reason } = chooseTracker(target, wanted);
const [view] = target.processes();
const ZERO = Buffer.alloc(4096);
const BATCH = 256;

/** Reads pages and gives each to `use`. */
function readPages(ranges, use) {
  const buffer = Buffer.alloc(BATCH * 4096);
  for (const { startPage, endPage } of ranges) {
    for (let page = startPage; page < endPage; ) {
      const count = view.readMemory(page, Math.min(BATCH, endPage - page), buffer);
      if (count === 0) throw new Error(`page ${page.toString(16)} cannot be read`);
      for (let i = 0; i < count; i++) use(page + i, buffer.subarray(i * 4096, (i + 1) * 4096));
      page += count;
    }
  }
}

let copy = new Map();
let parent;
const total = { suspects: 0, unchanged: 0, written: 0, notes: 0, wrong: [], said: [] };
for (let round = 0; round < Number(rounds); round++) {
  await target.freeze();
  const vmas = selectMappings(view.vmas());
  const { suspects, unchanged, notes } = tracker.collect(view, vmas, parent);
  const next = new Map();
  for (const { startPage, endPage } of unchanged) {
    for (let page = startPage; page < endPage; page++) next.set(page, copy.get(page) ?? ZERO);
  }
  readPages(suspects, (page, bytes) => {
    if (!bytes.equals(copy.get(page) ?? ZERO)) total.written++;
    next.set(page, bytes.equals(ZERO) ? ZERO : Buffer.from(bytes));
  });
  const trackerState = tracker.arm(view, vmas);
  // What follows is the judge: everything that exists, read anew.
  readPages(compareTracker.collect(view, vmas, undefined).suspects, (page, bytes) => {
    if (!bytes.equals(next.get(page) ?? ZERO)) total.wrong.push(`round ${round} page ${page.toString(16)}`);
  });
  target.verifyStoodStill();
  target.thaw();
  const present = new PageRangeList();
  for (const page of [...next.keys()].sort((a, b) => a - b)) present.append(page, page + 1);
  copy = next;
  parent = { present, trackerState };
  total.suspects += suspects.pageCount;
  total.unchanged += unchanged.pageCount;
  total.notes += notes.length;
  for (const note of notes) if (!total.said.includes(note)) total.said.push(note);
  if (total.wrong.length > 20) break;
  for (const line of [commands[round], `${round + 1} ${operations}`]) {
    if (line === undefined) continue;
    child.stdin.write(`${line}\n`);
    await lines.next();
  }
}
await target.close();
child.removeAllListeners('exit');
process.kill(pid, 'SIGKILL');
console.log(
  JSON.stringify({
    reason,
    release: target.abilities().kernelRelease,
    ...total,
    wrong: total.wrong.slice(0, 20),
  }),
);
process.exit(0);
