import { attempt, writeWholeFile } from '../../checkpoint/index.ts';
import {
  type MemoryProfile,
  profileOf,
  type Rehearsal,
  type RehearsalOptions,
  recordWorkload,
  type SweepResult,
  USUAL,
} from '../../migration/index.ts';
import { rehearsalParameters, renderRehearsalReport, type Shadow } from '../../report/index.ts';
import { parseWorkload } from '../../workload/index.ts';
import type { RehearsedSource } from './rehearse-source.ts';

/** A rehearsal that is over, and what it went by. */
export interface DoneRehearsal {
  readonly rehearsed: RehearsedSource;
  readonly parameters: RehearsalOptions;
  readonly rehearsal: Rehearsal;
  /** What became of it on the real network. */
  readonly shadow?: Shadow;
  readonly notes: readonly string[];
  readonly sweep?: SweepResult;
}

/** A workload is shown for as long as its migration takes, within these bounds. */
const SHORTEST_PROFILE_MICROSECONDS = 10_000_000;
const LONGEST_PROFILE_MICROSECONDS = 60_000_000;
const PROFILE_INTERVAL_MICROSECONDS = 100_000;

/**
 * Rehearses and writes a page about it: whole, or not at all.
 * @throws OutputError if the file exists, before anything is rehearsed, or cannot be written; whatever `rehearse` throws.
 */
export async function withPage<Done extends DoneRehearsal>(
  path: string,
  rehearse: () => Promise<Done>,
): Promise<Done> {
  return writeWholeFile(path, async (file) => {
    const done = await rehearse();
    const { rehearsed, parameters, rehearsal, notes, shadow, sweep } = done;
    const page = renderRehearsalReport({
      rehearsal,
      target: rehearsed.name,
      profile: await profileFor(rehearsed, rehearsal),
      parameters: rehearsalParameters(parameters, USUAL),
      notes,
      ...(shadow === undefined ? {} : { shadow }),
      ...(sweep === undefined ? {} : { sweep }),
      generatedAt: new Date(),
    });
    await attempt(path, () => file.writeFile(page));
    return done;
  });
}

/** What was recorded, or what the workload writes as it runs the first time. */
async function profileFor(
  { source }: RehearsedSource,
  { totalMicroseconds }: Rehearsal,
): Promise<MemoryProfile> {
  if (source.kind === 'recording') return profileOf(source.recording);
  const { path, text, warmUpMicroseconds } = source;
  const durationMicroseconds = Math.min(
    LONGEST_PROFILE_MICROSECONDS,
    Math.max(SHORTEST_PROFILE_MICROSECONDS, totalMicroseconds),
  );
  const recorded = await recordWorkload(parseWorkload(text, path), {
    warmUpMicroseconds,
    durationMicroseconds,
    intervalMicroseconds: PROFILE_INTERVAL_MICROSECONDS,
  });
  return profileOf(recorded);
}
