import type { Rehearsal } from '../migration/index.ts';

/**
 * When the program stands still, in microseconds; undefined if it never does. The last round is sent meanwhile, or, with
 * post-copy, what must go before it runs; without any round before the stop it is the first.
 */
export function stopOf({
  verdict,
  strategy,
  rounds,
  downtimeMicroseconds,
}: Rehearsal): [from: number, to: number] | undefined {
  const round = strategy === 'stop-and-copy' ? rounds[0] : rounds.at(-1);
  if (verdict !== 'converges' || round === undefined) return undefined;
  return [round.startMicroseconds, round.startMicroseconds + downtimeMicroseconds];
}
