import type { OpenFile } from '../live-state-format.ts';
import { RECORD_NAME } from '../tracking-record.ts';

const RECORD_PATH = `/memfd:${RECORD_NAME} (deleted)`;

/**
 * The open files of the program itself: without the record of a tracker, and its userfaultfd, which lies at the
 * highest number that was free.
 */
export function filesOfProgram(files: readonly OpenFile[]): OpenFile[] {
  const records = files.filter(({ kind, path }) => kind === 'memfd' && path === RECORD_PATH);
  if (records.length === 0) return [...files];
  const trackers = files
    .filter(({ kind, closeOnExec }) => kind === 'userfaultfd' && closeOnExec)
    .sort((left, right) => right.descriptor - left.descriptor)
    .slice(0, records.length);
  return files.filter((file) => !records.includes(file) && !trackers.includes(file));
}
