import { PAGE_SIZE, PeerError, TargetError } from '../../core/index.ts';
import { openLiveTarget } from '../../target/index.ts';
import type { Channel } from '../wire/channel.ts';
import { connectChannel } from '../wire/connect.ts';
import type { MessageOf } from '../wire/messages.ts';
import type { ConnectOptions, PeerAddress } from '../wire/options.ts';
import { type SourceRecord, SourceRecordFile } from './source-record.ts';

/** Asks what became of a migration whose end the source has not heard of. */
export interface ResolveRequest {
  readonly migrationId: string;
  readonly to: PeerAddress;
  readonly connect: ConnectOptions;
  readonly program: string;
  readonly recordsDirectory?: string;
}

/** What became of it. */
export interface Resolution {
  readonly migrationId: string;
  readonly name: string;
  /** `moved`: it runs there, and was ended here. `resumed`: it was never run there, and goes on here. */
  readonly end: 'moved' | 'resumed';
  /** Root process there; 0 if it is not known. */
  readonly pid: number;
  /** What the destination says of it. */
  readonly detail: string;
  /** Processes here that were ended or resumed. */
  readonly processes: readonly number[];
}

/**
 * Asks the destination of a migration in doubt, and ends or resumes the target here.
 * @throws UsageError if none is in doubt, PeerError if the destination cannot be asked: nothing has changed then
 */
export async function resolveMigration(request: ResolveRequest): Promise<Resolution> {
  const { migrationId, to, connect, program } = request;
  const file = new SourceRecordFile(migrationId, request.recordsDirectory);
  const record = file.read();
  const channel = await connectChannel(to, connect);
  const outcome = await ask(channel, record, program);
  if (outcome.status === 'unknown') {
    throw new PeerError(`the destination at ${channel.peer} knows nothing of migration ${migrationId}`, {
      hint: 'ask the one that it was sent to, with the same -D; the target stays stopped until then',
      data: { migrationId },
    });
  }
  const isThere = outcome.status === 'committed' || outcome.status === 'started';
  const processes = await signalProcesses(record, isThere ? 'SIGKILL' : 'SIGCONT');
  file.remove();
  const { pid, detail } = outcome;
  const end = isThere ? 'moved' : 'resumed';
  return { migrationId, name: record.name, end, pid, detail, processes };
}

async function ask(
  channel: Channel,
  { migrationId, name }: SourceRecord,
  program: string,
): Promise<MessageOf<'outcome'>> {
  await channel.send({
    type: 'hello',
    migrationId,
    purpose: 'resolve',
    strategy: 'pre-copy',
    target: { kind: 'live', name, fingerprint: '' },
    pageSize: PAGE_SIZE,
    program,
  });
  const answer = await channel.receive();
  if (answer?.type === 'outcome' && answer.migrationId === migrationId) {
    await channel.close().catch(() => undefined);
    return answer;
  }
  const why = answer?.type === 'abort' ? `: ${answer.reason}` : '';
  const error = new PeerError(`the destination does not say what became of migration ${migrationId}${why}`);
  channel.abort(error);
  throw error;
}

/** Signals those processes that are still what was noted. @returns their PIDs */
async function signalProcesses(
  { processes }: SourceRecord,
  signal: 'SIGKILL' | 'SIGCONT',
): Promise<number[]> {
  const fingerprints = new Map(processes.map(({ pid, fingerprint }) => [pid, fingerprint]));
  const signalled: number[] = [];
  try {
    const target = await openLiveTarget(processes[0]!.pid);
    try {
      // Descendants first: what waits for a child is to find it as it will be.
      for (const view of target.processes().reverse()) {
        if (fingerprints.get(view.pid) !== view.fingerprint) continue;
        process.kill(view.pid, signal);
        signalled.push(view.pid);
      }
    } finally {
      await target.close();
    }
  } catch (error) {
    // Whoever ended it has left nothing to do.
    if (!(error instanceof TargetError)) throw error;
  }
  return signalled;
}
