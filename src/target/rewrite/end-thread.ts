import { TargetError } from '../../core/index.ts';
import { type Native, REGISTER_SET } from '../native/calls.ts';
import type { Gadgets } from '../native/gadgets.ts';
import type { Tracee } from '../native/tracee.ts';

const EVERY_SIGNAL = 0xffff_ffff_ffff_ffffn;
/** Stops that a thread may pass on its way: of the group, or of a signal that cannot be held off. */
const MOST_STOPS = 100;

/**
 * Has a stopped thread, other than the first of its process, end by itself, as if it had returned from its function.
 * Nothing that it did goes on, and nobody is told: what it would clear or write on its way out was taken back before.
 */
export function endThread(native: Native, thread: Tracee, gadgets: Gadgets): void {
  const { architecture } = native;
  const registers = thread.registers();
  registers.set(architecture.instructionPointer, gadgets.callAndReturn);
  for (const name of architecture.callArguments) registers.set(name, 0);
  registers.set(architecture.callNumber, architecture.systemCall('exit'));
  if (architecture.name === 'x86_64') registers.set('orig_rax', -1n);
  thread.setSignalMask(EVERY_SIGNAL);
  native.setRegisterSet(thread.tid, REGISTER_SET.general, registers.bytes);
  for (let stops = 0; stops < MOST_STOPS; stops++) {
    native.resume(thread.tid);
    const status = native.wait(thread.tid, true);
    if (status !== undefined && status.kind !== 'stopped') return;
  }
  throw new TargetError(`thread ${thread.tid} of process ${thread.pid} does not end`, {
    data: { pid: thread.pid, thread: thread.tid },
  });
}
