import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import {
  type GuestFile,
  type GuestResult,
  type GuestRun,
  guestObstacle,
  programFiles,
  runInGuest,
} from './harness.ts';

/** The kernel in which CRIU runs: Debian's 3.17.1 knows it, and it tracks memory. */
const CRIU_KERNEL = '6.1';
const CRIU = '/usr/sbin/criu';
const REDIS = '/usr/bin/redis-server';
/** What CRIU asks of sockets, and what it looks for when it starts; see its criu/kerndat.c and criu/sockets.c. */
export const CRIU_MODULES = [
  'unix_diag',
  'inet_diag',
  'tcp_diag',
  'udp_diag',
  'raw_diag',
  'netlink_diag',
].concat([...['af_packet_diag', 'nf_tables', 'tun', 'veth']]);
/** From the project's root, where tests and benchmarks run. */
const SOURCES = resolve('test/guest');
const PROGRAMS = ['braid', 'scribe', 'tap'];

export interface CriuRun
  extends Pick<GuestRun, 'files' | 'output' | 'network' | 'timeoutSeconds' | 'memoryMebibytes'> {
  /** Shell script for busybox, after which that of criu.sh has been run. */
  readonly script: string;
}

/** Why no CRIU can run in a guest here, or undefined. Never a reason where `CI` is set. */
export function criuObstacle(): string | undefined {
  const guest = guestObstacle(CRIU_KERNEL);
  if (guest !== undefined || process.env['CI'] !== undefined) return guest;
  const missing = [CRIU, REDIS].find((program) => !existsSync(program));
  if (missing !== undefined) return `${missing} is not installed`;
  return spawnSync('gcc', ['--version']).status === 0 ? undefined : 'gcc is not installed';
}

/** Boots a guest that has CRIU, redis-server and the programs to be dumped, and runs `script` in it. */
export async function runWithCriu(run: CriuRun): Promise<GuestResult> {
  const programs = mkdtempSync(join(tmpdir(), 'ckpt-criu-'));
  try {
    const files: Record<string, GuestFile> = {
      ...programFiles(CRIU, '/bin/criu'),
      ...programFiles(REDIS, '/bin/redis-server'),
      '/criu.sh': { from: join(SOURCES, 'criu.sh') },
    };
    for (const name of PROGRAMS) {
      const [source, program] = [join(SOURCES, `${name}.c`), join(programs, name)];
      execFileSync('gcc', ['-O1', '-Wall', '-static', '-pthread', '-o', program, source]);
      files[`/bin/${name}`] = { from: program };
    }
    return await runInGuest({
      ...run,
      kernel: CRIU_KERNEL,
      modules: CRIU_MODULES,
      files: { ...files, ...run.files },
      script: `. /criu.sh\n${run.script}`,
    });
  } finally {
    rmSync(programs, { recursive: true, force: true });
  }
}
