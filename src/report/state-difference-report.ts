import type { FieldDifference, FileDifference, StateDifference } from '../checkpoint/index.ts';
import { printable } from './table.ts';

/** What people call the fields. */
const FIELD_TEXTS: Readonly<Record<FieldDifference['field'], string>> = {
  name: 'name',
  exe: 'program',
  commandLine: 'command line',
  workingDirectory: 'directory',
  root: 'root',
  processGroup: 'process group',
  session: 'session',
  terminal: 'terminal',
  umask: 'umask',
  credentials: 'credentials',
  limits: 'limits',
  namespaces: 'namespaces',
  cgroup: 'cgroup',
  oomScoreAdjustment: 'oom adjustment',
  seccompMode: 'seccomp mode',
  heapEnd: 'end of the heap',
  dispositions: 'signal handlers',
  pendingSignals: 'pending signals',
};

/** Files by path and position only: what lies unread in a pipe is as private as memory. */
export function stateDifferenceJson(difference: StateDifference): Readonly<Record<string, unknown>> {
  const fileJson = (file: FileDifference['before']) =>
    file === undefined ? null : { kind: file.kind, path: file.path, position: file.position };
  return {
    ...difference,
    files: difference.files.map(({ descriptor, change, before, after }) => ({
      descriptor,
      change,
      before: fileJson(before),
      after: fileJson(after),
    })),
  };
}

/** What else than memory differs, a line each. */
export function formatStateDifference({ threads, files, fields }: StateDifference): string {
  const lines = [
    ...threads.began.map((id) => `thread ${id} began`),
    ...threads.ended.map((id) => `thread ${id} ended`),
    ...files.map(fileText),
    ...fields.map(fieldText),
  ];
  return lines.map((line) => `${printable(line)}\n`).join('');
}

function fileText({ descriptor, change, before, after }: FileDifference): string {
  const path = (after ?? before)?.path ?? '';
  switch (change) {
    case 'moved':
      return `descriptor ${descriptor} moved from ${before?.position} to ${after?.position}: ${path}`;
    case 'replaced':
      return `descriptor ${descriptor} replaced: ${before?.path} by ${path}`;
    case 'opened':
    case 'closed':
    case 'altered':
      return `descriptor ${descriptor} ${change}: ${path}`;
  }
}

function fieldText({ field, before, after }: FieldDifference): string {
  const name = FIELD_TEXTS[field];
  const isPlain = [before, after].every((value) => typeof value === 'string' || typeof value === 'number');
  if (!isPlain) return `${name} changed`;
  const text = (value: unknown) =>
    field === 'umask' ? Number(value).toString(8).padStart(4, '0') : String(value);
  return `${name} changed from ${text(before)} to ${text(after)}`;
}
