/** Entry of a codec worker thread: answers jobs one by one, in the order in which they arrive. */
import { parentPort, type TransferListItem, workerData } from 'node:worker_threads';
import { openBlockCodec } from './block.ts';
import {
  type AnswerMessage,
  JOBS,
  type JobKind,
  type JobMessage,
  type JobResults,
  toFailure,
} from './jobs.ts';
import type { ZstdImplementation } from './zstd.ts';

const { implementation }: { implementation: ZstdImplementation } = workerData;
const codec = await openBlockCodec(implementation);

parentPort?.on('message', <Kind extends JobKind>({ id, kind, request }: JobMessage<Kind>) => {
  let answer: AnswerMessage;
  try {
    answer = { id, result: JOBS[kind](codec, request) };
  } catch (error) {
    answer = { id, failure: toFailure(error) };
  }
  parentPort?.postMessage(answer, 'result' in answer ? buffersOf(answer.result) : []);
});

/** The buffers that a result owns: they move to the main thread instead of being copied. */
function buffersOf(result: JobResults[JobKind]): TransferListItem[] {
  if (result === null) return [];
  const views =
    result instanceof Uint8Array
      ? [result]
      : 'stored' in result
        ? [result.stored]
        : [result.digests, result.zeroFlags];
  return views.flatMap(({ buffer }) => (buffer instanceof ArrayBuffer ? [buffer] : []));
}
