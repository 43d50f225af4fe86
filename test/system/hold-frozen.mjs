// Freezes the process named on the command line, says so, and waits to be killed; with a third argument it freezes and
// thaws as fast as it can instead. It stands in for a ckpt that dies in the middle of a dump, and so runs the built
// program.
import { openLiveTarget } from '../../dist/target/live.js';

const [, , pid, freezer, repeatedly] = process.argv;
const target = await openLiveTarget(Number(pid), { freezer });
await target.freeze();
console.log('frozen');
if (repeatedly === undefined) setInterval(() => {}, 1000);
else {
  for (;;) {
    target.thaw();
    await target.freeze();
  }
}
