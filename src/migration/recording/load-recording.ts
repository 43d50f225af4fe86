import { UsageError } from '../../core/index.ts';
import { TraceReader } from '../trace/reader.ts';
import { RecordingBuilder } from './builder.ts';
import type { Recording } from './recording.ts';

/**
 * Reads a trace into memory.
 * @throws UsageError if it cannot be read or holds no interval, StoreVersionError for another version, IntegrityError if
 *   it is no trace or damaged.
 */
export async function loadRecording(traceFile: string, signal?: AbortSignal): Promise<Recording> {
  const reader = await TraceReader.open(traceFile);
  const builder = new RecordingBuilder(reader.header);
  for await (const step of reader.steps()) {
    signal?.throwIfAborted();
    builder.add(step);
  }
  if (builder.intervals === 0) {
    throw new UsageError(`the trace ${traceFile} is shorter than one interval`, {
      hint: 'record for longer: what a program writes is seen between two scans',
      data: { path: traceFile },
    });
  }
  return builder.build();
}
