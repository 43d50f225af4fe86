import { formatNumber } from '../image/index.ts';
import type { CheckpointReader } from '../store/index.ts';
import { decodeLiveState, LIVE_STATE_FORMAT, type LiveState } from '../target/index.ts';

/**
 * The state of a live target that a checkpoint holds; undefined for a simulated target, or one that a ckpt before
 * ckpt-live-2 recorded, of which only the summary in the manifest is to be shown.
 * @throws IntegrityError
 */
export async function readLiveState(reader: CheckpointReader): Promise<LiveState | undefined> {
  const { number, state } = reader.manifest;
  const bytes = state?.format === LIVE_STATE_FORMAT ? await reader.state() : undefined;
  if (bytes === undefined) return undefined;
  return decodeLiveState(bytes, `the state of checkpoint ${formatNumber(number)}`);
}
