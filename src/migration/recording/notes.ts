import { formatDuration } from '../../core/index.ts';
import { QEMU_DEFAULTS } from '../qemu/options.ts';
import type { Rehearsal } from '../rehearse.ts';
import type { PolicyChoice } from '../rehearse-once.ts';
import type { Recording } from './recording.ts';

/** What a rehearsal had to assume because the recording does not tell it, as sentences for people. */
export function recordingNotes(recording: Recording, rehearsal: Rehearsal, choice: PolicyChoice): string[] {
  const notes = [...recording.notes];
  const longest = Math.max(rehearsal.totalMicroseconds, rehearsal.intervals.totalMicroseconds[1]);
  if (longest > recording.microseconds) {
    notes.push(
      `the migration may last ${formatDuration(longest)}, but only ${formatDuration(recording.microseconds)} were recorded: ` +
        'the writes begin again then, on other pages where a page was written only once',
    );
  }
  const options = choice.policy === 'qemu' ? { ...QEMU_DEFAULTS, ...choice.options } : undefined;
  if (options?.autoConverge === true && recording.cpuShare === 0) {
    notes.push(
      'how much of a processor the program needs was not recorded: it is taken to keep its pace when it is slowed down',
    );
  }
  return notes;
}
