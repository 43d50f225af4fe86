/** Entry of a codec worker thread. */
import { parentPort, type TransferListItem, workerData } from 'node:worker_threads';
import { openBlockCodec } from './block.ts';
import {
  type AnswerMessage,
  type BatchMessage,
  type Content,
  type Job,
  type Outcome,
  runJob,
  toFailure,
} from './jobs.ts';
import type { ZstdImplementation } from './zstd.ts';

const { implementation }: { implementation: ZstdImplementation } = workerData;
const codec = await openBlockCodec(implementation);

parentPort?.on('message', ({ batch, jobs }: BatchMessage) => {
  const answer: AnswerMessage = { batch, outcomes: jobs.map(attempt) };
  parentPort?.postMessage(answer, answer.outcomes.flatMap(buffersOf));
});

function attempt(job: Job): Outcome {
  try {
    return { result: runJob(codec, job) };
  } catch (error) {
    return { failure: toFailure(error) };
  }
}

/** The buffers that an outcome owns: they move to the main thread instead of being copied. */
function buffersOf(outcome: Outcome): TransferListItem[] {
  if ('failure' in outcome || outcome.result === null) return [];
  const { result } = outcome;
  // Blocks that lie in shared memory.
  if (typeof result === 'object' && 'blocks' in result) return [];
  if (typeof result === 'object' && 'digests' in result) {
    return [result.digests, result.zeroFlags].flatMap(bufferOf);
  }
  return bufferOf(typeof result === 'object' && 'stored' in result ? result.stored : result);
}

function bufferOf(content: Content): TransferListItem[] {
  return typeof content !== 'number' && content.buffer instanceof ArrayBuffer ? [content.buffer] : [];
}
