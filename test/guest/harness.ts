import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { CpioWriter } from './cpio.ts';
import { type GuestKernelVersion, guestKernel } from './kernels.ts';

export type { GuestKernelVersion } from './kernels.ts';

/** Content of a file of the guest: a file or directory of the host, or text. */
export type GuestFile =
  | { readonly from: string }
  | { readonly text: string | Uint8Array; readonly executable?: boolean };

export interface GuestRun {
  /** Files of the guest by absolute path; directories are copied with all they hold. */
  readonly files?: Readonly<Record<string, GuestFile>>;
  /** Shell script, run by busybox as root, in /. Its output (both streams) and exit code are the result. */
  readonly script: string;
  readonly kernel: GuestKernelVersion;
  /** Names of kernel modules to load with what they depend on; those that the kernel has built in are skipped. */
  readonly modules?: readonly string[];
  /** A new directory of the host for what the script leaves in /out, holes of files included. */
  readonly output?: string;
  /** With a network card eth0, on whose other side 10.0.2.2 is the loopback of the host. */
  readonly network?: boolean;
  /** Default 1536, on two memory nodes. */
  readonly memoryMebibytes?: number;
  /** Wall time after which the guest is killed and the run fails; default 240. */
  readonly timeoutSeconds?: number;
}

export interface GuestResult {
  readonly stdout: string;
  readonly exitCode: number;
}

const PROJECT = resolve(import.meta.dirname, '../..');
const BUSYBOX = '/bin/busybox';
const EXIT_MARK = '@@EXIT ';
/** The disk that carries /out to the host, a tar archive; a file of holes until it is written. */
const OUTPUT_DISK_BYTES = 2 ** 31;
const OUTPUT_DISK_MODULES = ['virtio_pci', 'virtio_blk'];
const NETWORK_MODULES = ['virtio_pci', 'virtio_net'];

/**
 * Why no guest can run here, or undefined. Never a reason where `CI` is set: there the test has to fail instead.
 */
export function guestObstacle(kernel: GuestKernelVersion): string | undefined {
  if (process.env['CI'] !== undefined) return undefined;
  if (spawnSync('qemu-system-x86_64', ['--version']).status !== 0) {
    return 'qemu-system-x86_64 is not installed (apt-get install qemu-system-x86)';
  }
  if (!isStatic(BUSYBOX)) return `${BUSYBOX} is no static busybox (apt-get install busybox-static)`;
  try {
    guestKernel(kernel);
  } catch (error) {
    return `kernel ${kernel} cannot be had: ${(error as Error).message}`;
  }
  return undefined;
}

function isStatic(program: string): boolean {
  return existsSync(program) && spawnSync('ldd', [program]).status !== 0;
}

/**
 * Boots a kernel in QEMU with an initramfs of `files` and runs `script` in it. The accelerator is QEMU's own
 * emulation unless $CKPT_GUEST_ACCEL names another (`kvm`): emulation works everywhere, inside virtual machines too.
 * @throws Error if the guest does not come to the end of the script.
 */
export async function runInGuest(run: GuestRun): Promise<GuestResult> {
  const kernel = guestKernel(run.kernel);
  const work = mkdtempSync(join(tmpdir(), 'ckpt-guest-'));
  try {
    const initramfs = join(work, 'initramfs');
    writeFileSync(initramfs, buildInitramfs(run, kernel.modules));
    const output = join(work, 'output');
    const disk = join(work, 'disk');
    if (run.output !== undefined) {
      writeFileSync(disk, '');
      truncateSync(disk, OUTPUT_DISK_BYTES);
    }
    const console = await boot(run, kernel.image, initramfs, output, disk);
    const text = existsSync(output) ? readFileSync(output, 'utf8').replaceAll('\r', '') : '';
    const end = text.lastIndexOf(EXIT_MARK);
    if (end < 0) {
      const tail = [console, text].map((part) => part.slice(-3000)).join('\n--- output ---\n');
      throw new Error(`the guest (${kernel.release}) did not finish its script; console:\n${tail}`);
    }
    if (run.output !== undefined) {
      mkdirSync(run.output, { recursive: true });
      execFileSync('tar', ['--warning=no-timestamp', '-xSpf', disk, '-C', run.output]);
    }
    return { stdout: text.slice(0, end), exitCode: Number(text.slice(end + EXIT_MARK.length)) };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function boot(
  run: GuestRun,
  image: string,
  initramfs: string,
  output: string,
  disk: string,
): Promise<string> {
  const accelerator = process.env['CKPT_GUEST_ACCEL'] ?? 'tcg';
  const memory = run.memoryMebibytes ?? 1536;
  const node = (index: number) => ['-object', `memory-backend-ram,id=m${index},size=${memory / 2}M`];
  const machine = ['-accel', accelerator, '-cpu', 'max', '-smp', '1', '-m', String(memory)];
  const nodes = ['-numa', 'node,nodeid=0,memdev=m0,cpus=0', '-numa', 'node,nodeid=1,memdev=m1'];
  const devices = ['-display', 'none', '-no-reboot', '-monitor', 'none'];
  const network = run.network === true ? ['-nic', 'user,model=virtio-net-pci'] : ['-nic', 'none'];
  const serial = ['-serial', 'stdio', '-serial', `file:${output}`];
  if (run.output !== undefined) serial.push('-drive', `file=${disk},format=raw,if=virtio,cache=unsafe`);
  const append = 'console=ttyS0 quiet loglevel=1 panic=-1 no5lvl';
  const child = spawn(
    'qemu-system-x86_64',
    [...machine, ...node(0), ...node(1), ...nodes, ...devices, ...network, ...serial].concat([
      '-kernel',
      image,
      '-initrd',
      initramfs,
      '-append',
      append,
    ]),
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  return new Promise((done, failed) => {
    let console = '';
    const timer = setTimeout(() => child.kill('SIGKILL'), (run.timeoutSeconds ?? 240) * 1000);
    child.stdout.on('data', (chunk) => {
      console += chunk;
    });
    child.stderr.on('data', (chunk) => {
      console += chunk;
    });
    child.on('error', failed);
    child.on('close', () => {
      clearTimeout(timer);
      done(console);
    });
  });
}

function buildInitramfs(run: GuestRun, modules: string): Uint8Array {
  const archive = new CpioWriter();
  for (const path of ['/dev', '/proc', '/sys', '/tmp', '/mnt', '/root', '/bin', '/out'])
    archive.directory(path);
  archive.characterDevice('/dev/console', 5, 1);
  archive.file('/bin/busybox', readFileSync(BUSYBOX), 0o755);
  for (const applet of execFileSync(BUSYBOX, ['--list'], { encoding: 'utf8' }).trim().split('\n')) {
    if (applet !== 'busybox') archive.link(`/bin/${applet}`, 'busybox');
  }
  const names = [
    ...(run.output === undefined ? [] : OUTPUT_DISK_MODULES),
    ...(run.network === true ? NETWORK_MODULES : []),
    ...(run.modules ?? []),
  ];
  [...withDependencies(modules, names)].forEach(([name, content], index) => {
    archive.file(`/modules/${String(index).padStart(2, '0')}-${name}.ko`, content, 0o644);
  });
  const packer = run.output === undefined ? {} : programFiles('/bin/tar', '/packer/tar');
  for (const [path, file] of Object.entries({ ...packer, ...run.files })) addFile(archive, path, file);
  archive.file('/script', run.script, 0o755);
  archive.file('/init', INIT, 0o755);
  return archive.finish();
}

const INIT = `#!/bin/sh
export PATH=/bin HOME=/root
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mount -t tmpfs -o mode=1777 tmp /tmp
for m in /modules/*.ko; do [ -e "$m" ] && insmod "$m" 2>/dev/null; done
stty -F /dev/ttyS1 raw -echo 115200
/bin/sh /script > /dev/ttyS1 2>&1 < /dev/null
status=$?
[ ! -e /packer/tar ] || /packer/tar -cSf /dev/vda -C /out . || status=99
sync
echo "${EXIT_MARK}$status" > /dev/ttyS1
poweroff -f
`;

/** The modules of these names, each after those that it depends on. */
function withDependencies(modules: string, names: readonly string[]): ReadonlyMap<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  const visit = (name: string) => {
    const content = found.has(name) ? undefined : readModule(modules, name);
    if (content === undefined) return;
    const text = Buffer.from(content).toString('latin1');
    const dependencies = /\0depends=([^\0]*)\0/.exec(text)?.[1] ?? '';
    for (const dependency of dependencies.split(',').filter(Boolean)) visit(dependency);
    found.set(name, content);
  };
  for (const name of names) visit(name);
  return found;
}

function readModule(modules: string, name: string): Uint8Array | undefined {
  // File names have dashes where names of modules have underscores, or have not.
  const pattern = new RegExp(`(^|/)${name.replaceAll(/[-_]/g, '[-_]')}\\.ko(\\.xz)?$`);
  const found = readdirSync(modules, { recursive: true, encoding: 'utf8' }).find((path) =>
    pattern.test(path),
  );
  if (found === undefined) return undefined;
  const path = join(modules, found);
  return path.endsWith('.xz')
    ? execFileSync('xz', ['-dc', path], { maxBuffer: 1 << 28 })
    : readFileSync(path);
}

function addFile(archive: CpioWriter, path: string, file: GuestFile): void {
  if (!('from' in file)) {
    archive.file(path, file.text, file.executable === true ? 0o755 : 0o644);
    return;
  }
  const status = lstatSync(file.from);
  if (status.isDirectory()) {
    archive.directory(path);
    for (const name of readdirSync(file.from))
      addFile(archive, `${path}/${name}`, { from: join(file.from, name) });
  } else if (status.isSymbolicLink()) {
    archive.link(path, readlinkSync(file.from));
  } else {
    archive.file(path, readFileSync(file.from), status.mode & 0o777);
  }
}

/** The files that a program of the host needs in the guest: itself, as `guestPath`, and its shared libraries. */
export function programFiles(hostPath: string, guestPath: string): Record<string, GuestFile> {
  const listing = spawnSync('ldd', [hostPath], { encoding: 'utf8' }).stdout;
  const libraries = [...listing.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1] ?? '');
  const files: Record<string, GuestFile> = { [guestPath]: { from: realpathSync(hostPath) } };
  for (const library of libraries) files[library] = { from: realpathSync(library) };
  return files;
}

/** Node itself, as /bin/node. */
export function nodeFiles(): Record<string, GuestFile> {
  return programFiles(process.execPath, '/bin/node');
}

/** The built project in /ckpt with what it needs at run time: start it as `node /ckpt/bin/ckpt.js`. */
export function projectFiles(): Record<string, GuestFile> {
  const files: Record<string, GuestFile> = {};
  for (const part of ['package.json', 'bin', 'dist']) files[`/ckpt/${part}`] = { from: join(PROJECT, part) };
  for (const name of runtimePackages()) {
    files[`/ckpt/node_modules/${name}`] = { from: join(PROJECT, 'node_modules', name) };
  }
  return files;
}

/** The packages that `npm ci --omit=dev` would install (all of them are hoisted to the top). */
function runtimePackages(): string[] {
  const found = new Set<string>();
  const visit = (directory: string) => {
    const description = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
    for (const name of Object.keys({ ...description.dependencies, ...description.optionalDependencies })) {
      const home = join(PROJECT, 'node_modules', name);
      if (found.has(name) || !existsSync(home)) continue;
      found.add(name);
      visit(home);
    }
  };
  visit(PROJECT);
  return [...found];
}
