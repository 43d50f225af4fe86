// Makes system calls inside the process named on the command line, in all of its threads in turn, again and again,
// until it is killed. It stands in for a ckpt that dies while it does so, and so runs the built program.
import { loadNative } from '../../dist/target/native/calls.js';
import { TraceSession } from '../../dist/target/native/trace-session.js';

const [pid, stops, callsPerThread] = process.argv.slice(2).map(Number);
const native = await loadNative();
console.log('calling');
for (let stop = 0; stop < stops; stop++) {
  const session = await TraceSession.stop(native, () => [pid], { timeoutMicroseconds: 5e6 });
  const injector = session.injector(pid);
  for (const thread of session.process(pid).threads) {
    injector.useThread(thread);
    for (let call = 0; call < callsPerThread; call++) {
      if (injector.call('gettid') !== BigInt(thread.tid)) throw new Error('another thread answered');
    }
  }
  injector.close();
  session.detach();
}
