import type { FeatureId } from '../target/index.ts';

/** What a purpose makes of a feature. */
export interface FeatureUse {
  readonly feature: FeatureId;
  /** What becomes of the purpose without it; absent if nothing is left of it then. */
  readonly without?: string;
}

/** Something that a user may want to do. */
export interface PurposeUses {
  readonly id: 'dump' | 'track' | 'restore-files' | 'restore-core' | 'restore-in-place' | 'restore-new';
  readonly title: string;
  /** Said where all is well, after the title. */
  readonly what: string;
  readonly uses: readonly FeatureUse[];
}

const needed = (...features: readonly FeatureId[]): FeatureUse[] => features.map((feature) => ({ feature }));

/** Every purpose with the features that it rests on, the needed ones first. */
export const PURPOSES: readonly PurposeUses[] = [
  {
    id: 'dump',
    title: 'dump',
    what: 'memory and state of live processes',
    uses: [
      ...needed('trial-dump', 'process-memory', 'other-processes'),
      { feature: 'native-calls', without: 'targets are stopped by signals, and only memory is kept' },
      { feature: 'ptrace', without: 'targets are stopped by signals, and only memory is kept' },
      { feature: 'inject', without: 'no signal handlers, timers and resource sharing are kept' },
      { feature: 'suspend-seccomp', without: 'targets with a seccomp filter are not called into' },
      { feature: 'vector-state', without: 'no vector registers are kept' },
      { feature: 'rseq', without: 'no rseq areas are kept' },
      { feature: 'process-vm-readv', without: 'memory is read through /proc/PID/mem' },
      { feature: 'pidfd', without: 'fewer details of open files are kept' },
      { feature: 'kcmp', without: 'nothing is kept of which descriptors share a position' },
      { feature: 'children', without: 'descendants are looked for in all of /proc' },
      { feature: 'timers', without: 'no timers are kept' },
      { feature: 'map-files', without: 'fewer details of mapped files are kept' },
      {
        feature: 'frame-numbers',
        without: 'pages of zeros and pages shared by processes are read to be found',
      },
      { feature: 'page-flags', without: 'pages of zeros are read to be found' },
      { feature: 'cgroup-freezer', without: 'targets are stopped by ptrace or signals' },
    ],
  },
  {
    id: 'track',
    title: 'track changes',
    what: 'incremental dumps',
    uses: [
      { feature: 'pagemap-scan', without: 'no tracker pagemap-scan' },
      { feature: 'userfaultfd', without: 'no tracker pagemap-scan' },
      { feature: 'write-protect-async', without: 'no tracker pagemap-scan' },
      { feature: 'write-protect-unpopulated', without: 'no tracker pagemap-scan' },
      { feature: 'write-protect-shared', without: 'shared and huge pages are compared' },
      {
        feature: 'unprivileged-userfaultfd',
        without: 'nothing is missed, since asynchronous protection needs no handler',
      },
      { feature: 'soft-dirty', without: 'no tracker soft-dirty' },
      { feature: 'clear-ledger', without: 'no tracker soft-dirty' },
    ],
  },
  { id: 'restore-files', title: 'restore to files', what: 'ckpt restore --to DIR', uses: [] },
  {
    id: 'restore-core',
    title: 'restore to a core file',
    what: 'ckpt restore --format core',
    uses: [{ feature: 'gdb', without: "no 'ckpt gdb'; the core can be taken elsewhere" }],
  },
  {
    id: 'restore-in-place',
    title: 'restore in place',
    what: 'ckpt restore --in-place -t PID',
    uses: [...needed('ptrace', 'inject', 'write-memory', 'pidfd')],
  },
  {
    id: 'restore-new',
    title: 'restore as new processes',
    what: 'ckpt restore --new',
    uses: [
      ...needed('ptrace', 'inject', 'write-memory', 'set-mm-map', 'set-tid'),
      { feature: 'last-pid', without: 'PIDs are chosen by clone3' },
      { feature: 'criu', without: 'nothing takes over what --new refuses' },
    ],
  },
];
