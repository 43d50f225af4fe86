// Runs in the guest. Dumps a program with the command line while the program works; after each dump it looks at the
// stopped program with a reader of its own. Then restores every checkpoint and compares.
// Arguments: program, tracker, dumps, operations between them.
import { execFileSync, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { readMemory, readRestored } from './read-memory.mjs';

const [program, wanted, dumps, operations] = process.argv.slice(2);
const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
await lines.next();

function ckpt(...args) {
  const output = execFileSync(
    process.execPath,
    ['/ckpt/bin/ckpt.js', ...args, '-D', '/tmp/store', '--json'],
    {
      encoding: 'utf8',
    },
  );
  return JSON.parse(output);
}

const seen = [];
const results = [];
for (let index = 0; index < Number(dumps); index++) {
  const incremental = index === 0 ? [] : ['--incremental'];
  const tracker = ['--single', '--tracker', wanted];
  results.push(ckpt('dump', '-t', `${child.pid}`, '--leave-stopped', ...tracker, ...incremental));
  seen.push(readMemory(child.pid));
  process.kill(child.pid, 'SIGCONT');
  child.stdin.write(`${index + 1} ${operations}\n`);
  await lines.next();
}
child.kill('SIGKILL');

const wrong = [];
for (const [index, expected] of seen.entries()) {
  const out = `/tmp/out-${index + 1}`;
  ckpt('restore', '--at', `${index + 1}`, '--to', out);
  const { digests, empty } = readRestored(out);
  for (const name of Object.keys({ ...expected, ...digests })) {
    const isRight = expected[name] === undefined ? empty.includes(name) : expected[name] === digests[name];
    if (!isRight) wrong.push(`checkpoint ${index + 1}: ${name}`);
  }
}
const pages = results.map(({ pages: { present, dirty, written } }) => ({ present, dirty, written }));
console.log(JSON.stringify({ trackers: results.map(({ tracker }) => tracker), pages, wrong }));
process.exit(0);
