import type { DumpContext } from './dump-context.ts';
import type { DescribedProcess, ProcessImages } from './process.ts';

/** What no image of CRIU has. */
const NEVER_RECORDED = [
  'the kernel and its boot, when processes were started, device and inode numbers of files, and ambient capabilities: ' +
    'CRIU does not keep them',
];

/** Says what the state of a dump lacks, as sentences. */
export function gapsOf(
  processes: readonly ProcessImages[],
  described: readonly DescribedProcess[],
  { pipesComplete }: DumpContext,
): string[] {
  const gaps = [...NEVER_RECORDED];
  if (!pipesComplete) gaps.push('part of what lies unread in pipes, which is in the kept images only');
  for (const [index, { state }] of described.entries()) {
    const { pid } = state;
    if (processes[index]?.mm === undefined) {
      gaps.push(
        `process ${pid} had ended and waited for its parent to ask: it has no memory, registers or files`,
      );
      continue;
    }
    if (state.seccompMode === 2)
      gaps.push(`the seccomp filters of process ${pid}, which are in the kept images only`);
    if (state.environment === null) gaps.push(`arguments and environment of process ${pid}`);
    for (const { id, registers } of state.threads) {
      if (registers === null) gaps.push(`the registers of thread ${id}, which runs 32-bit code`);
    }
  }
  return gaps;
}
