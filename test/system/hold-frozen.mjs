// Freezes the process named on the command line, says so, and waits to be killed. It stands in for a ckpt that dies in
// the middle of a dump, and so runs the built program.
import { openLiveTarget } from '../../dist/target/live.js';

const target = await openLiveTarget(Number(process.argv[2]), { freezer: process.argv[3] });
await target.freeze();
console.log('frozen');
setInterval(() => {}, 1000);
