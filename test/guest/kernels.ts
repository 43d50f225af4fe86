import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Kernels with CONFIG_MEM_SOFT_DIRTY=y that Debian packages for virtual machines. */
export type GuestKernelVersion = '6.1' | '6.12';

export interface GuestKernel {
  readonly release: string;
  readonly image: string;
  /** lib/modules/RELEASE. */
  readonly modules: string;
}

/**
 * The releases on which the shipped cases were recorded. Later ones of the same series may differ: between 6.12.107 and
 * 6.12.117, mremap with DONTUNMAP stopped merging the new mapping with its own source.
 */
const RECORDED_RELEASES: Readonly<Record<GuestKernelVersion, string>> = {
  '6.1': '6.1.0-56-cloud-amd64',
  '6.12': '6.12.107+deb12-cloud-amd64',
};

const PACKAGE_PATTERNS: Readonly<Record<GuestKernelVersion, RegExp>> = {
  '6.1': /^linux-image-6\.1\.0-\d+-cloud-amd64$/,
  '6.12': /^linux-image-6\.12\.\d+\+deb1\d+-cloud-amd64$/,
};

/** Where kernels are kept between runs: $CKPT_GUEST_CACHE, else ~/.cache/ckpt-guest. */
function cacheDirectory(): string {
  return process.env['CKPT_GUEST_CACHE'] ?? join(homedir(), '.cache', 'ckpt-guest');
}

/**
 * The kernel of that version: from the cache, else its package fetched with `apt-get download`. It is the release of the
 * recordings as long as the archive has it, then the newest.
 * @throws Error that says what is missing.
 */
export function guestKernel(version: GuestKernelVersion): GuestKernel {
  const recorded = RECORDED_RELEASES[version];
  const release = isCached(recorded) ? recorded : availableRelease(version);
  if (!isCached(release)) download(release);
  const home = join(cacheDirectory(), release);
  return {
    release,
    image: join(home, 'boot', `vmlinuz-${release}`),
    modules: join(home, 'lib', 'modules', release),
  };
}

/** Whether `kernel` is the very release that the shipped cases were recorded on. */
export function isRecordedRelease(version: GuestKernelVersion, kernel: GuestKernel): boolean {
  return kernel.release === RECORDED_RELEASES[version];
}

function isCached(release: string): boolean {
  return existsSync(join(cacheDirectory(), release));
}

function availableRelease(version: GuestKernelVersion): string {
  const names = execFileSync('apt-cache', ['pkgnames', 'linux-image-'], { encoding: 'utf8' }).split('\n');
  const found = names
    .filter((candidate) => PACKAGE_PATTERNS[version].test(candidate))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    .map((name) => name.replace('linux-image-', ''));
  const recorded = RECORDED_RELEASES[version];
  const release = found.includes(recorded) ? recorded : found.at(-1);
  if (release === undefined) throw new Error(`apt knows no package ${PACKAGE_PATTERNS[version].source}`);
  return release;
}

function download(release: string): void {
  const name = `linux-image-${release}`;
  mkdirSync(cacheDirectory(), { recursive: true });
  const work = mkdtempSync(join(cacheDirectory(), 'download-'));
  try {
    // _apt may not write to a directory of root's: apt-get then downloads as root and warns on standard error.
    execFileSync('apt-get', ['download', '-qq', name], { cwd: work, stdio: ['ignore', 'ignore', 'pipe'] });
    const archive = readdirSync(work).find((file) => file.endsWith('.deb'));
    if (archive === undefined) throw new Error(`apt-get download ${name} left no package`);
    execFileSync('dpkg', ['-x', archive, 'root'], { cwd: work });
    renameSync(join(work, 'root'), join(cacheDirectory(), release));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
