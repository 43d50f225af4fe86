import type { OpenFileKind } from '../../../target/index.ts';

/** An open file: what all descriptors that share it have in common. */
export interface FileRecord {
  /** As the link in /proc/PID/fd would say. */
  readonly path: string;
  readonly kind: OpenFileKind;
  readonly deleted: boolean;
  /** O_*, of the machine. */
  readonly flags: number;
  readonly position: string;
  /** `0` where it is not recorded. */
  readonly inode: string;
  readonly sizeBytes: number;
  readonly details: readonly string[];
  /** Of a regular file: what the linker called its contents, in hexadecimal digits. */
  readonly buildId?: string;
  /** Of a pipe or FIFO: id of what is in it. */
  readonly pipeId?: number;
  /** Of a memfd: the object of shared memory that it is. */
  readonly objectId?: string;
}

/** What most kinds of files have: no position, size, or anything else. */
export const PLAIN_FILE = {
  deleted: false,
  flags: 0,
  position: '0',
  inode: '0',
  sizeBytes: 0,
  details: [],
} as const;
