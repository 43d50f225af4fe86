import type { Finding, Pruned, Squashed, Verification } from '../checkpoint/index.ts';
import { formatBytes, formatCount, formatDuration } from '../core/index.ts';
import { formatFields, formatTable } from './table.ts';

/** `error: packs/000002.pack: block 17 ...`. */
export function formatFinding({ severity, place, problem }: Finding): string {
  return `${severity}: ${place}: ${problem}`;
}

/** The verdict; the findings were printed as they came. */
export function formatVerification(verification: Verification): string {
  const { checkpoints, errors, warnings, microseconds } = verification;
  const found =
    errors + warnings === 0
      ? 'everything is as it was written'
      : `${formatCount(errors)} errors, ${formatCount(warnings)} warnings`;
  return `${formatCount(checkpoints)} ${checkpoints === 1 ? 'checkpoint' : 'checkpoints'}: ${found} (${formatDuration(microseconds)})\n`;
}

/** What a squash did or would do. */
export function formatSquashed({ plan, result }: Squashed): string {
  const chain = plan.chain.join(', ');
  return formatFields([
    ['checkpoint', `${plan.checkpoint}, ${result === null ? 'would become' : 'is now'} a base`],
    ['folded', `chain ${chain}`],
    ['memory', `${formatBytes(plan.memoryBytes)} in ${formatCount(plan.presentPages)} pages`],
    ...(result === null
      ? []
      : ([
          ['stored', formatBytes(result.storedBytes)],
          ['digest', `${result.memoryDigest} (unchanged)`],
        ] as const)),
  ]);
}

/** What a prune did or would do. */
export function formatPruned({ plan, done }: Pruned): string {
  const removed = plan.removed.length === 0 ? 'none' : plan.removed.join(', ');
  const head = formatFields([
    ['kept', plan.kept.join(', ')],
    [done ? 'removed' : 'would go', removed],
    ['freed', formatBytes(plan.bytesFreed)],
  ]);
  if (plan.packs.length === 0) return head;
  const table = formatTable(
    [
      { heading: 'pack', align: 'right' },
      { heading: 'before', align: 'right' },
      { heading: 'after', align: 'right' },
    ],
    plan.packs.map(({ pack, bytesBefore, bytesAfter }) => [
      String(pack),
      formatBytes(bytesBefore),
      bytesAfter === 0 ? 'removed' : formatBytes(bytesAfter),
    ]),
  );
  return `${head}\n${table}`;
}

/** The JSON of `ckpt prune`. */
export function prunedJson({ plan, done }: Pruned): Readonly<Record<string, unknown>> {
  const { kept, removed, packs, bytesFreed } = plan;
  return { done, kept, removed, packs, bytesFreed };
}
