import { closeSync, openSync, readFileSync, readlinkSync, readSync, statSync } from 'node:fs';
import { PAGE_SIZE } from '../../core/index.ts';
import { parseMaps } from '../../procfs/index.ts';
import { isDeadState, readTaskStat } from '../live-files.ts';
import { bootId } from '../live-identity.ts';
import { deviceOf } from '../live-state-file.ts';
import type { Credentials } from '../live-state-format.ts';
import type { Vma } from '../view.ts';
import { ownCredentials } from './credentials.ts';

/** A file as it is now. */
export interface PresentFile {
  readonly kind: 'file' | 'directory' | 'other';
  /** `254:1`, decimal. */
  readonly device: string;
  readonly inode: string;
  readonly sizeBytes: number;
  readonly modifiedMilliseconds: number;
}

/** What a launch finds: the machine, and ckpt itself, from which everything is inherited. */
export interface LaunchWorld {
  readonly architecture: 'x86_64' | 'aarch64' | 'other';
  readonly credentials: Credentials;
  readonly rootDirectory: string;
  readonly bootId: string;
  /** The vDSO and the pages of its data, of any process of this kernel. */
  readonly kernelMappings: readonly Vma[];
  readonly vdso: Uint8Array;
  file(path: string): PresentFile | undefined;
  /** Short name of the process or thread that has this id; undefined if it is free. */
  holderOf(id: number): string | undefined;
  /** `pid:[4026531836]` for `pid`; undefined if this kernel has no such namespaces. */
  namespace(name: string): string | undefined;
}

/** The machine that ckpt runs on. */
export function presentWorld(): LaunchWorld {
  const kernelMappings = parseMaps(readFileSync('/proc/self/maps', 'latin1'))
    .filter(({ pathname }) => pathname === '[vdso]' || pathname.startsWith('[vvar'))
    .map((entry) => ({ ...entry, flags: [] }));
  return {
    architecture: process.arch === 'x64' ? 'x86_64' : process.arch === 'arm64' ? 'aarch64' : 'other',
    credentials: ownCredentials(),
    rootDirectory: optional(() => readlinkSync('/proc/self/root')) ?? '/',
    bootId: bootId(),
    kernelMappings,
    vdso: contentsOf(kernelMappings.find(({ pathname }) => pathname === '[vdso]')),
    file: presentFile,
    holderOf,
    namespace: (name) => optional(() => readlinkSync(`/proc/self/ns/${name}`)),
  };
}

/** Memory of ckpt itself. */
function contentsOf(vma: Vma | undefined): Uint8Array {
  if (vma === undefined) return new Uint8Array();
  const bytes = new Uint8Array((vma.endPage - vma.startPage) * PAGE_SIZE);
  const descriptor = openSync('/proc/self/mem', 'r');
  try {
    readSync(descriptor, bytes, 0, bytes.length, vma.startPage * PAGE_SIZE);
    return bytes;
  } finally {
    closeSync(descriptor);
  }
}

function holderOf(id: number): string | undefined {
  const stat = optional(() => readTaskStat(id));
  if (stat === undefined) return undefined;
  return isDeadState(stat.state) ? `${stat.name}, which has ended but was not waited for` : stat.name;
}

function presentFile(path: string): PresentFile | undefined {
  const stat = optional(() => statSync(path, { bigint: true }));
  if (stat === undefined) return undefined;
  return {
    kind: stat.isFile() ? 'file' : stat.isDirectory() ? 'directory' : 'other',
    device: deviceOf(stat),
    inode: stat.ino.toString(),
    sizeBytes: Number(stat.size),
    modifiedMilliseconds: Number(stat.mtimeMs),
  };
}

function optional<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
