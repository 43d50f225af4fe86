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

const UNTRACED = 'targets are stopped by signals, and of their state only what /proc tells is kept';

/** What the tracker pagemap-scan is made of. */
const SCAN_FEATURES: readonly FeatureId[] = [
  ...(['pagemap-scan', 'userfaultfd', 'write-protect-async'] as const),
  ...(['ptrace', 'inject', 'pidfd', 'kcmp'] as const),
];

/** Every purpose with the features that it rests on, the needed ones first. */
export const PURPOSES: readonly PurposeUses[] = [
  {
    id: 'dump',
    title: 'dump',
    what: 'memory and state of live processes',
    uses: [
      ...needed('trial-dump', 'process-memory', 'other-processes'),
      { feature: 'native-calls', without: UNTRACED },
      { feature: 'ptrace', without: UNTRACED },
      { feature: 'inject', without: 'signal handlers, timers and thread pointers are not kept' },
      {
        feature: 'suspend-seccomp',
        without: 'no calls are made inside targets with seccomp filters',
      },
      { feature: 'vector-state', without: 'vector registers are not kept' },
      { feature: 'rseq', without: 'rseq areas are not kept' },
      { feature: 'process-vm-readv', without: 'memory is read through /proc/PID/mem, which takes longer' },
      { feature: 'pidfd', without: 'what lies unread in pipes is not kept' },
      { feature: 'kcmp', without: 'which descriptors share a position is not kept' },
      { feature: 'children', without: 'descendants are looked for in all of /proc' },
      { feature: 'timers', without: 'timers are not kept' },
      {
        feature: 'map-files',
        without: 'shared memory that only others have touched is left out, with a warning',
      },
      { feature: 'frame-numbers', without: 'pages that processes share since a fork are read once for each' },
      { feature: 'page-flags', without: 'pages of zeros are read to be found' },
      { feature: 'cgroup-freezer', without: 'targets are stopped by ptrace or by signals' },
    ],
  },
  {
    id: 'track',
    title: 'track changes',
    what: 'incremental dumps',
    uses: [
      ...SCAN_FEATURES.map((feature) => ({ feature, without: 'no tracker pagemap-scan' })),
      {
        feature: 'write-protect-unpopulated',
        without: 'nothing is missed: pages that were not there are new',
      },
      {
        feature: 'write-protect-shared',
        without: 'nothing is missed: shared memory is compared in any case',
      },
      { feature: 'unrestricted-userfaultfd', without: 'nothing is missed: no handler waits for faults' },
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
      ...needed('ptrace', 'inject', 'pidfd', 'write-memory', 'set-mm-map', 'set-tid'),
      { feature: 'map-files', without: 'processes that share memory without a name cannot be made' },
      { feature: 'last-pid', without: 'nothing is missed: clone3 chooses PIDs' },
      { feature: 'criu', without: 'nothing takes over what --new refuses' },
    ],
  },
];
