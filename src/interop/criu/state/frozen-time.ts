import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { messagesOf } from '../images/messages.ts';

/**
 * How long CRIU had the processes frozen, in microseconds, by the statistics that it writes (criu/stats.c); 0 if they are
 * not in the directory: they go to CRIU's work directory, which need not be the same.
 * @throws IntegrityError
 */
export async function frozenMicroseconds(directory: string): Promise<number> {
  const path = join(directory, 'stats-dump');
  if ((await stat(path).catch(() => undefined)) === undefined) return 0;
  const [statistics] = await messagesOf(path, 'STATS');
  return statistics?.message('dump')?.number('frozen_time') ?? 0;
}
