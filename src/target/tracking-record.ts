import {
  closeSync,
  fstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  statSync,
  writeSync,
} from 'node:fs';
import { errnoOf, procError } from './live-files.ts';
import { USERFAULTFD_LINK } from './userfaultfd.ts';
import type { ClearLedger } from './view.ts';

/** Name of the memory file in a tracked process, and what /proc/PID/fd shows for it. */
export const RECORD_NAME = 'ckpt-tracking';
const RECORD_LINK = `/memfd:${RECORD_NAME} (deleted)`;
const VERSION = 1;
const RECORD_BYTES = 1024;
const NONE = -1;

interface RecordFields {
  readonly version: number;
  /** PID and fingerprint of the process that it was made for: a forked child inherits the descriptor. */
  readonly owner: string;
  /** Descriptor number of the userfaultfd in the process; -1 while there is none. */
  readonly userfaultfd: number;
  /** Of whoever protected pages last. */
  readonly signature: string | null;
}

/**
 * A small memory file inside a tracked process, beside its userfaultfd: it tells whose userfaultfd that is and who armed
 * it last. It is in the process, and nowhere else, because that is what all who may dump the process share, in whatever
 * namespace or under whatever user they run; and because it ends when the process does, or closes all it has.
 */
export class TrackingRecord implements ClearLedger {
  readonly #pid: number;
  /** Its descriptor number in the process. */
  readonly number: number;
  readonly #descriptor: number;

  /**
   * Opens the file that is, or has just been made, descriptor `number` of the process.
   * @throws TargetError if the process is gone or not ours to look into
   */
  constructor(pid: number, number: number) {
    this.#pid = pid;
    this.number = number;
    try {
      this.#descriptor = openSync(descriptorPath(pid, number), 'r+');
    } catch (error) {
      throw procError(error, pid, 'open the files');
    }
  }

  /** Descriptor number of the userfaultfd; undefined if none was made yet. */
  get userfaultfd(): number | undefined {
    const number = this.#read()?.userfaultfd ?? NONE;
    return number === NONE ? undefined : number;
  }

  isOf(owner: string): boolean {
    return this.#read()?.owner === owner;
  }

  /** Whether the process still has it open under its number. */
  isOpen(): boolean {
    try {
      const there = statSync(descriptorPath(this.#pid, this.number));
      const here = fstatSync(this.#descriptor);
      return there.ino === here.ino && there.dev === here.dev;
    } catch {
      return false;
    }
  }

  begin(owner: string): void {
    this.#write({ version: VERSION, owner, userfaultfd: NONE, signature: null });
  }

  setUserfaultfd(userfaultfd: number): void {
    const fields = this.#read();
    if (fields !== undefined) this.#write({ ...fields, userfaultfd });
  }

  lastSignature(): string | undefined {
    return this.#read()?.signature ?? undefined;
  }

  sign(signature: string): void {
    const fields = this.#read();
    if (fields !== undefined) this.#write({ ...fields, signature });
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  /** Undefined if it is empty, damaged, or of another version. */
  #read(): RecordFields | undefined {
    const bytes = Buffer.alloc(RECORD_BYTES);
    const length = readSync(this.#descriptor, bytes, 0, RECORD_BYTES, 0);
    return parseRecord(bytes.toString('utf8', 0, length));
  }

  /** One write of one length, so that it is never half old. */
  #write(fields: RecordFields): void {
    const text = JSON.stringify(fields).padEnd(RECORD_BYTES);
    writeSync(this.#descriptor, text, 0);
  }
}

function parseRecord(text: string): RecordFields | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { version, owner, userfaultfd, signature } = value as Partial<Record<keyof RecordFields, unknown>>;
  if (version !== VERSION || typeof owner !== 'string' || typeof userfaultfd !== 'number') return undefined;
  return { version, owner, userfaultfd, signature: typeof signature === 'string' ? signature : null };
}

/** Numbers of the records among the descriptors of a process, highest first. */
export function recordNumbers(descriptors: ReadonlyMap<number, string>): number[] {
  const numbers = [...descriptors].filter(([, link]) => link === RECORD_LINK).map(([number]) => number);
  return numbers.sort((left, right) => right - left);
}

/**
 * Numbers of all descriptors in a process that a ckpt made, for it or for a process that it descends from: they belong to
 * tracking, and are nothing that the program knows of.
 * @param links as of `descriptorLinks`
 */
export function trackingDescriptors(pid: number, links: ReadonlyMap<number, string>): number[] {
  return recordNumbers(links).flatMap((number) => {
    const record = new TrackingRecord(pid, number);
    const userfaultfd = record.userfaultfd;
    record.close();
    const isThere = userfaultfd !== undefined && links.get(userfaultfd) === USERFAULTFD_LINK;
    return isThere ? [userfaultfd, number] : [number];
  });
}

/** Open descriptors of a process with what they are. */
export function descriptorLinks(pid: number): Map<number, string> {
  const links = new Map<number, string>();
  try {
    for (const name of readdirSync(`/proc/${pid}/fd`)) {
      const link = descriptorLink(pid, Number(name));
      if (link !== undefined) links.set(Number(name), link);
    }
    return links;
  } catch (error) {
    throw procError(error, pid, 'list the files');
  }
}

/** What one descriptor of a process is; undefined if it is not open. */
export function descriptorLink(pid: number, number: number): string | undefined {
  try {
    return readlinkSync(descriptorPath(pid, number));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function descriptorPath(pid: number, number: number): string {
  return `/proc/${pid}/fd/${number}`;
}
