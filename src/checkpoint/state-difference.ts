import type { LiveProcessState, OpenFile } from '../target/index.ts';

/** What differs between two states of one live process, beyond its memory and what always differs (registers). */
export interface StateDifference {
  readonly threads: { readonly began: readonly number[]; readonly ended: readonly number[] };
  /** By descriptor. */
  readonly files: readonly FileDifference[];
  readonly fields: readonly FieldDifference[];
}

export interface FileDifference {
  readonly descriptor: number;
  /** `replaced`: the descriptor stands for another file. `moved`: the same file at another position. */
  readonly change: 'opened' | 'closed' | 'replaced' | 'moved' | 'altered';
  /** Absent if it was not open then. */
  readonly before?: OpenFile;
  readonly after?: OpenFile;
}

/** A field of the state that is not the same. */
export interface FieldDifference {
  readonly field: ComparedField;
  readonly before: unknown;
  readonly after: unknown;
}

const COMPARED_FIELDS = [
  'name',
  'exe',
  'commandLine',
  'workingDirectory',
  'root',
  'processGroup',
  'session',
  'terminal',
  'umask',
  'credentials',
  'limits',
  'namespaces',
  'cgroup',
  'oomScoreAdjustment',
  'seccompMode',
] as const satisfies readonly (keyof LiveProcessState)[];

export type ComparedField = (typeof COMPARED_FIELDS)[number] | 'heapEnd' | 'dispositions' | 'pendingSignals';

/** Compares two states of one process; undefined if nothing differs. */
export function compareStates(
  before: LiveProcessState,
  after: LiveProcessState,
): StateDifference | undefined {
  const [older, newer] = [threadIdsOf(before), threadIdsOf(after)];
  const difference = {
    threads: {
      began: newer.filter((id) => !older.includes(id)),
      ended: older.filter((id) => !newer.includes(id)),
    },
    files: compareFiles(before.files, after.files),
    fields: compareFields(before, after),
  };
  const { threads, files, fields } = difference;
  const count = threads.began.length + threads.ended.length + files.length + fields.length;
  return count === 0 ? undefined : difference;
}

function threadIdsOf({ threads }: LiveProcessState): number[] {
  return threads.map(({ id }) => id);
}

function compareFiles(before: readonly OpenFile[], after: readonly OpenFile[]): FileDifference[] {
  const older = new Map(before.map((file) => [file.descriptor, file]));
  const newer = new Map(after.map((file) => [file.descriptor, file]));
  const descriptors = [...new Set([...older.keys(), ...newer.keys()])].sort((left, right) => left - right);
  return descriptors.flatMap(
    (descriptor) => compareDescriptor(descriptor, older.get(descriptor), newer.get(descriptor)) ?? [],
  );
}

function compareDescriptor(
  descriptor: number,
  before: OpenFile | undefined,
  after: OpenFile | undefined,
): FileDifference | undefined {
  if (before === undefined) return after && { descriptor, change: 'opened', after };
  if (after === undefined) return { descriptor, change: 'closed', before };
  const change = changeOf(before, after);
  return change === undefined ? undefined : { descriptor, change, before, after };
}

/** Images of CRIU have no inode numbers of files (LIVE-STATE.md, section 8): there the path tells. */
function isSameFile(before: OpenFile, after: OpenFile): boolean {
  const isAlike =
    before.device === after.device && before.inode === after.inode && before.kind === after.kind;
  return isAlike && (before.inode !== '0' || before.path === after.path);
}

function changeOf(before: OpenFile, after: OpenFile): FileDifference['change'] | undefined {
  if (!isSameFile(before, after)) return 'replaced';
  if (before.position !== after.position) return 'moved';
  const isAlike =
    before.path === after.path &&
    before.flags === after.flags &&
    before.closeOnExec === after.closeOnExec &&
    isEqual(before.details, after.details) &&
    isEqual(before.pipe, after.pipe);
  return isAlike ? undefined : 'altered';
}

function compareFields(before: LiveProcessState, after: LiveProcessState): FieldDifference[] {
  const pairs: (readonly [ComparedField, unknown, unknown])[] = [
    ...COMPARED_FIELDS.map((field) => [field, before[field], after[field]] as const),
    ['heapEnd', before.layout.brk, after.layout.brk],
    ['dispositions', before.signals.dispositions, after.signals.dispositions],
    ['pendingSignals', before.signals.pending, after.signals.pending],
  ];
  return pairs
    .filter(([, older, newer]) => !isEqual(older, newer))
    .map(([field, older, newer]) => ({ field, before: older, after: newer }));
}

function isEqual(left: unknown, right: unknown): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}
