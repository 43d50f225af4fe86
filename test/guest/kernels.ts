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

const PACKAGE_PATTERNS: Readonly<Record<GuestKernelVersion, RegExp>> = {
  '6.1': /^linux-image-6\.1\.0-\d+-cloud-amd64$/,
  '6.12': /^linux-image-6\.12\.\d+\+deb1\d+-cloud-amd64$/,
};
const RELEASE_PATTERNS: Readonly<Record<GuestKernelVersion, RegExp>> = {
  '6.1': /^6\.1\.0-\d+-cloud-amd64$/,
  '6.12': /^6\.12\.\d+\+deb1\d+-cloud-amd64$/,
};

/** Where kernels are kept between runs: $CKPT_GUEST_CACHE, else ~/.cache/ckpt-guest. */
function cacheDirectory(): string {
  return process.env['CKPT_GUEST_CACHE'] ?? join(homedir(), '.cache', 'ckpt-guest');
}

/**
 * The kernel of that version: from the cache, else its newest package fetched with `apt-get download`.
 * @throws Error that says what is missing.
 */
export function guestKernel(version: GuestKernelVersion): GuestKernel {
  const home = join(cacheDirectory(), version);
  if (!existsSync(home)) download(version, home);
  const release = readdirSync(join(home, 'lib', 'modules')).find((name) =>
    RELEASE_PATTERNS[version].test(name),
  );
  if (release === undefined) throw new Error(`${home} holds no kernel ${version}`);
  return {
    release,
    image: join(home, 'boot', `vmlinuz-${release}`),
    modules: join(home, 'lib', 'modules', release),
  };
}

function download(version: GuestKernelVersion, home: string): void {
  const names = execFileSync('apt-cache', ['pkgnames', 'linux-image-'], { encoding: 'utf8' }).split('\n');
  const name = names
    .filter((candidate) => PACKAGE_PATTERNS[version].test(candidate))
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    .at(-1);
  if (name === undefined) throw new Error(`apt knows no package ${PACKAGE_PATTERNS[version].source}`);
  mkdirSync(cacheDirectory(), { recursive: true });
  const work = mkdtempSync(join(cacheDirectory(), 'download-'));
  try {
    // _apt may not write to a directory of root's: apt-get then downloads as root and warns on standard error.
    execFileSync('apt-get', ['download', '-qq', name], { cwd: work, stdio: ['ignore', 'ignore', 'pipe'] });
    const archive = readdirSync(work).find((file) => file.endsWith('.deb'));
    if (archive === undefined) throw new Error(`apt-get download ${name} left no package`);
    execFileSync('dpkg', ['-x', archive, 'root'], { cwd: work });
    renameSync(join(work, 'root'), home);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
