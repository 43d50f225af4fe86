import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { StoreFullError, StoreUnusableError } from '../core/index.ts';
import type { FaultPoint, FaultPoints } from './faults.ts';

/** Stores hold the memory of processes: their files and directories are for the owner alone. */
const FILE_MODE = 0o600;
const DIRECTORY_MODE = 0o700;

/** Which fault points stand before the steps of an atomic replacement. */
type ReplacementSubject = 'store-file' | 'manifest' | 'pruning';

/** The files of one store: each change passes a fault point, each failure becomes an error with a way out. */
export class StoreFiles {
  readonly directory: string;
  readonly #faults: FaultPoints;

  constructor(directory: string, faults: FaultPoints) {
    this.directory = directory;
    this.#faults = faults;
  }

  pathOf(name: string): string {
    return join(this.directory, name);
  }

  /** Announces that `point` is reached. */
  reached(point: FaultPoint): void {
    this.#faults.reached(point);
  }

  /** Runs a file operation on `name`; failures say what was done to which file. */
  async attempt<Result>(doing: string, name: string, operation: () => Promise<Result>): Promise<Result> {
    try {
      return await operation();
    } catch (cause) {
      throw asStoreError(cause, doing, this.pathOf(name));
    }
  }

  /** Names in a folder, sorted; none if the folder does not exist. */
  async list(folder: string): Promise<string[]> {
    return this.attempt('list', folder, async () => {
      try {
        return (await readdir(this.pathOf(folder))).sort();
      } catch (cause) {
        if (isErrno(cause, 'ENOENT')) return [];
        throw cause;
      }
    });
  }

  /** The text of a file, or undefined if it does not exist. */
  async readText(name: string): Promise<string | undefined> {
    return this.attempt('read', name, async () => {
      try {
        return await readFile(this.pathOf(name), 'utf8');
      } catch (cause) {
        if (isErrno(cause, 'ENOENT')) return undefined;
        throw cause;
      }
    });
  }

  /** What `name` is, or undefined if it does not exist. */
  async status(name: string): Promise<Stats | undefined> {
    return this.attempt('look at', name, async () => {
      try {
        return await lstat(this.pathOf(name));
      } catch (cause) {
        if (isErrno(cause, 'ENOENT')) return undefined;
        throw cause;
      }
    });
  }

  /** Creates a directory, and those above it, unless it exists. */
  async createDirectory(name: string, point: FaultPoint): Promise<void> {
    this.reached(point);
    const path = this.pathOf(name);
    await this.attempt('create', name, async () => {
      await makeDirectory(path);
    });
  }

  /** Creates a file that must not exist yet. */
  async create(name: string, point: FaultPoint): Promise<FileHandle> {
    this.reached(point);
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    return this.attempt('create', name, () => open(this.pathOf(name), flags, FILE_MODE));
  }

  async rename(from: string, to: string, point: FaultPoint): Promise<void> {
    this.reached(point);
    await this.attempt('create', to, () => rename(this.pathOf(from), this.pathOf(to)));
  }

  /** Removes a file, or a scratch directory with all that is in it; what is gone already is no failure. */
  async remove(name: string, point: FaultPoint): Promise<void> {
    this.reached(point);
    await this.attempt('remove', name, () => rm(this.pathOf(name), { recursive: true, force: true }));
  }

  /** Makes the names in a folder durable. */
  async syncDirectory(folder: string, point: FaultPoint): Promise<void> {
    this.reached(point);
    await this.attempt('sync', folder, async () => {
      const handle = await open(this.pathOf(folder), constants.O_RDONLY | constants.O_DIRECTORY);
      try {
        await handle.sync();
      } finally {
        await handle.close();
      }
    });
  }

  /**
   * Puts `text` in the place of `folder/name`, all or nothing: written beside it in tmp/, synced, renamed, directory
   * synced. A leftover in tmp/ is harmless: the next writer removes it.
   */
  async replaceText(folder: string, name: string, text: string, subject: ReplacementSubject): Promise<void> {
    const temporary = join('tmp', name);
    await this.remove(temporary, 'clean-up');
    try {
      await this.#writeDraft(temporary, text, subject);
    } catch (cause) {
      // Best effort: the next writer removes it too, and this failure must not hide the first one.
      await this.remove(temporary, 'clean-up').catch(() => undefined);
      throw cause;
    }
    await this.rename(temporary, join(folder, name), `${subject}-rename`);
    await this.syncDirectory(folder, `${subject}-sync-directory`);
  }

  async #writeDraft(name: string, text: string, subject: ReplacementSubject): Promise<void> {
    const handle = await this.create(name, `${subject}-write`);
    try {
      await this.attempt('write', name, () => handle.writeFile(text));
      this.reached(`${subject}-sync`);
      await this.attempt('sync', name, () => handle.sync());
    } finally {
      await handle.close();
    }
  }
}

/** Whether `cause` is the system error `code`. */
export function isErrno(cause: unknown, code: string): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === code;
}

/** The user's view of a system error on a file of a store. Anything else is passed on. */
export function asStoreError(cause: unknown, doing: string, path: string): unknown {
  if (!(cause instanceof Error) || !('syscall' in cause) || !('code' in cause)) return cause;
  const code = String(cause.code);
  const details = { cause, data: { path, errno: code } };
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new StoreFullError(`cannot ${doing} ${path}: no space is left on its file system`, {
      ...details,
      hint: "free some space, or run 'ckpt prune' on the store; what it held before is unharmed",
    });
  }
  return new StoreUnusableError(`cannot ${doing} ${path}: ${reasonOf(code, cause.message)}`, {
    ...details,
    hint: HINTS[code] ?? 'check the file system that holds the store',
  });
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  EROFS: 'the file system is read-only',
  ENOENT: 'no such file or directory',
  ENOTDIR: 'not a directory',
  EISDIR: 'it is a directory',
  EIO: 'input/output error',
  EMFILE: 'too many open files',
};

const HINTS: Readonly<Record<string, string>> = {
  EACCES: 'run as the owner of the store, or give -D a directory that you may write to',
  EPERM: 'run as the owner of the store, or give -D a directory that you may write to',
  EROFS: 'give -D a directory on a writable file system',
  ENOTDIR: 'give -D a directory',
};

function reasonOf(code: string, message: string): string {
  return REASONS[code] ?? message;
}

/**
 * Creates a directory for its owner alone, and those above it, unless it exists. Node's own `recursive` reports a
 * read-only file system as a missing directory, and never returns for a path inside /proc.
 */
export async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: DIRECTORY_MODE });
  } catch (cause) {
    if (isErrno(cause, 'EEXIST')) return;
    const parent = dirname(path);
    if (!isErrno(cause, 'ENOENT') || parent === path) throw cause;
    await makeDirectory(parent);
    await mkdir(path, { mode: DIRECTORY_MODE }).catch((again: unknown) => {
      if (!isErrno(again, 'EEXIST')) throw again;
    });
  }
}
