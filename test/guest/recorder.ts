import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type GuestFile, type GuestKernelVersion, guestObstacle, runInGuest } from './harness.ts';

const INTERPRETER_SOURCE = join(import.meta.dirname, 'sdops.c');
const DISK_BYTES = 8 << 20;
/** What swap on zram and ext4 on a loop device need; each after what it depends on. */
const MODULES = [
  'zsmalloc',
  'lzo',
  'lzo-rle',
  'lz4_compress',
  'lz4hc_compress',
  'lz4',
  'zstd_compress',
].concat(['zstd', 'crc32c-intel', 'loop', 'zram']);
/** A scenario that waits for ever, on a userfaultfd say, is given up after this. */
const SCENARIO_SECONDS = 20;

/**
 * Prepares the machine as for every recording: swap, a disk file system, khugepaged busy elsewhere, no randomised
 * addresses. Then runs each scenario from the same settings.
 */
const SCRIPT = `
echo lzo-rle > /sys/block/zram0/comp_algorithm 2>/dev/null
echo 128M > /sys/block/zram0/disksize && mkswap /dev/zram0 >/dev/null 2>&1 && swapon /dev/zram0 || exit 1
losetup /dev/loop0 /ext4.img && mount -t ext4 /dev/loop0 /mnt || exit 1
T=/sys/kernel/mm/transparent_hugepage
for setting in defrag=0 max_ptes_none=0 max_ptes_swap=0 max_ptes_shared=0 pages_to_scan=1 \\
  scan_sleep_millisecs=100000000 alloc_sleep_millisecs=100000000; do
  echo \${setting#*=} > $T/khugepaged/\${setting%%=*}
done
# khugepaged looks at the first process that enrols, then sleeps: give it one.
echo always > $T/enabled
sdops --decoy &
sleep 1
echo 0 > /proc/sys/kernel/randomize_va_space
echo 0 > /proc/sys/kernel/numa_balancing 2>/dev/null
for scenario in /scenarios/*.sd; do
  name=\${scenario##*/}
  echo never > $T/enabled; echo never > $T/shmem_enabled; echo 1 > $T/use_zero_page
  K=/sys/kernel/mm/ksm
  echo 2 > $K/run; echo 0 > $K/run; echo 0 > $K/use_zero_pages
  rm -rf /tmp/sd; rm -f /mnt/f*
  echo "@@BEGIN \${name%.sd}"
  timeout -s KILL ${SCENARIO_SECONDS} sdops $scenario 2>&1
  echo "@@END"
done
exit 0
`;

/** Why nothing can be recorded here, or undefined. */
export function recorderObstacle(kernel: GuestKernelVersion): string | undefined {
  const guest = guestObstacle(kernel);
  if (guest !== undefined || process.env['CI'] !== undefined) return guest;
  for (const program of ['gcc', 'mke2fs', 'xz']) {
    if (spawnSync(program, ['--version']).error !== undefined) return `${program} is not installed`;
  }
  return undefined;
}

/** Runs scenarios on a real kernel; what each has printed, by name. */
export async function record(
  kernel: GuestKernelVersion,
  scenarios: ReadonlyMap<string, string>,
): Promise<Map<string, string>> {
  const work = mkdtempSync(join(tmpdir(), 'ckpt-recorder-'));
  try {
    const files = interpreterFiles(work);
    for (const [name, text] of scenarios) files[`/scenarios/${name}.sd`] = { text };
    const timeoutSeconds = 120 + scenarios.size;
    const run = { kernel, files, script: SCRIPT, modules: MODULES, memoryMebibytes: 1024, timeoutSeconds };
    const { stdout, exitCode } = await runInGuest(run);
    if (exitCode !== 0) throw new Error(`the guest could not be prepared:\n${stdout}`);
    return splitOutput(stdout);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function interpreterFiles(work: string): Record<string, GuestFile> {
  const program = join(work, 'sdops');
  execFileSync('gcc', ['-O1', '-static', '-o', program, INTERPRETER_SOURCE]);
  const disk = join(work, 'ext4.img');
  writeFileSync(disk, new Uint8Array(DISK_BYTES));
  const features = '^has_journal,^metadata_csum,^64bit';
  execFileSync('mke2fs', ['-q', '-F', '-t', 'ext4', '-b', '4096', '-O', features, disk]);
  return { '/bin/sdops': { from: program }, '/ext4.img': { text: readFileSync(disk) } };
}

function splitOutput(text: string): Map<string, string> {
  const outputs = new Map<string, string>();
  for (const match of text.matchAll(/^@@BEGIN (\S+)\n(.*?)^@@END\n/gms)) outputs.set(match[1]!, match[2]!);
  return outputs;
}
