import { PAGE_SIZE, UsageError } from '../../core/index.ts';

/** Migration parameters of QEMU, under its names and with its defaults (qapi/migration.json of QEMU 10). */
export interface QemuOptions {
  /** The guest is stopped before anything is sent (`stop`, then `migrate`). */
  readonly stopFirst: boolean;
  /** Bytes a second; 0: unlimited. */
  readonly maxBandwidth: number;
  readonly downtimeLimitMicroseconds: number;
  /** Bytes a second to reckon with in the decision to switch, instead of those measured; 0: measure. */
  readonly availSwitchoverBandwidth: number;
  readonly autoConverge: boolean;
  readonly cpuThrottleInitial: number;
  readonly cpuThrottleIncrement: number;
  readonly cpuThrottleTailslow: boolean;
  readonly maxCpuThrottle: number;
  readonly throttleTriggerThreshold: number;
  /** Slow vCPUs that dirty more than `vcpuDirtyLimit` (needs KVM's dirty ring); excludes auto-converge. */
  readonly dirtyLimit: boolean;
  /** MiB a second and vCPU. */
  readonly vcpuDirtyLimit: number;
  readonly vcpuDirtyLimitPeriodMicroseconds: number;
  /** KVM's dirty-ring-size. It has no default; 4096 is what QEMU's documentation uses. */
  readonly dirtyRingPages: number;
  readonly xbzrle: boolean;
  readonly xbzrleCacheBytes: number;
  /** 0: no multifd. */
  readonly multifdChannels: number;
  readonly multifdCompression: 'none' | 'zstd' | 'zlib';
  /** Whether pages of zeros are looked for at all. */
  readonly detectZeroPages: boolean;
  /** When to leave pre-copy: after so many passes over memory, or so much time. */
  readonly postcopyAfter: { readonly rounds: number } | { readonly microseconds: number } | undefined;
  /** Bytes a second of what is sent without being asked for in post-copy; 0: unlimited. */
  readonly maxPostcopyBandwidth: number;
  /** Requested pages have a connection of their own. */
  readonly postcopyPreempt: boolean;
  /**
   * When a page's entry in the dirty log is taken away: at the sync, or just before its gigabyte is sent (KVM with
   * manual protection), which forgives writes between the two. The former, of all other accelerators, is the default:
   * it predicts no less than what happens.
   */
  readonly clearLog: 'at-sync' | 'before-send';
}

export const QEMU_DEFAULTS: QemuOptions = {
  stopFirst: false,
  maxBandwidth: 128 * 2 ** 20,
  downtimeLimitMicroseconds: 300_000,
  availSwitchoverBandwidth: 0,
  autoConverge: false,
  cpuThrottleInitial: 20,
  cpuThrottleIncrement: 10,
  cpuThrottleTailslow: false,
  maxCpuThrottle: 99,
  throttleTriggerThreshold: 50,
  dirtyLimit: false,
  vcpuDirtyLimit: 1,
  vcpuDirtyLimitPeriodMicroseconds: 1_000_000,
  dirtyRingPages: 4096,
  xbzrle: false,
  xbzrleCacheBytes: 64 * 2 ** 20,
  multifdChannels: 0,
  multifdCompression: 'none',
  detectZeroPages: true,
  postcopyAfter: undefined,
  maxPostcopyBandwidth: 0,
  postcopyPreempt: false,
  clearLog: 'at-sync',
};

/** @throws UsageError for a value that QEMU would refuse, naming the parameter. */
export function checkQemuOptions(options: QemuOptions): void {
  const percent = (name: string, value: number, least: number) => {
    if (!(value >= least && value <= 99)) {
      throw new UsageError(`${name} ${value} is out of range`, {
        hint: `it is a percentage from ${least} to 99`,
      });
    }
  };
  for (const [name, value] of [
    ['max-bandwidth', options.maxBandwidth],
    ['max-postcopy-bandwidth', options.maxPostcopyBandwidth],
  ] as const) {
    if (!(value >= 0)) throw new UsageError(`${name} is negative`);
  }
  if (!(options.downtimeLimitMicroseconds >= 0 && options.downtimeLimitMicroseconds <= 2e9)) {
    throw new UsageError('downtime-limit is out of range', { hint: 'it lies between 0 and 2000 seconds' });
  }
  percent('cpu-throttle-initial', options.cpuThrottleInitial, 1);
  percent('cpu-throttle-increment', options.cpuThrottleIncrement, 1);
  percent('max-cpu-throttle', options.maxCpuThrottle, options.cpuThrottleInitial);
  checkDirtyLimit(options);
  if (!(options.xbzrleCacheBytes >= PAGE_SIZE)) {
    throw new UsageError('xbzrle-cache-size is smaller than a page');
  }
  if (
    !Number.isInteger(options.multifdChannels) ||
    options.multifdChannels < 0 ||
    options.multifdChannels > 255
  ) {
    throw new UsageError('multifd-channels is out of range', { hint: 'there can be 1 to 255' });
  }
}

function checkDirtyLimit(options: QemuOptions): void {
  if (!options.dirtyLimit) return;
  if (options.autoConverge) {
    throw new UsageError('dirty-limit and auto-converge exclude each other', { hint: 'choose one of them' });
  }
  if (!(options.vcpuDirtyLimit >= 1)) {
    throw new UsageError('vcpu-dirty-limit is out of range', { hint: 'it is at least 1 MiB a second' });
  }
  const period = options.vcpuDirtyLimitPeriodMicroseconds;
  if (!(period >= 1000 && period <= 1e6)) {
    throw new UsageError('x-vcpu-dirty-limit-period is out of range', {
      hint: 'it lies between 1 and 1000 ms',
    });
  }
  const ring = options.dirtyRingPages;
  if (!(ring >= 1024 && ring <= 65536 && Number.isInteger(Math.log2(ring)))) {
    throw new UsageError('dirty-ring-size is out of range', { hint: 'it is a power of two, 1024 to 65536' });
  }
}
