/** Entry of a thread that rehearses. */
import { parentPort, workerData } from 'node:worker_threads';
import { rehearseOnce } from '../rehearse-once.ts';
import { type MemorySource, openSource } from '../source.ts';
import { type AnswerMessage, type TaskMessage, toFailure } from './messages.ts';

const { source }: { readonly source: MemorySource } = workerData;

parentPort?.on('message', async ({ id, task }: TaskMessage) => {
  parentPort?.postMessage(await answer(id, task));
});

async function answer(id: number, { run, options }: TaskMessage['task']): Promise<AnswerMessage> {
  try {
    return { id, outcome: rehearseOnce(await openSource(source, run), options) };
  } catch (error) {
    return { id, failure: toFailure(error) };
  }
}
