import { link, rename, writeFile } from 'node:fs/promises';
import { StoreLockedError, StoreUnusableError } from '../core/index.ts';
import { isErrno, type StoreFiles } from './files.ts';
import type { LockHost, LockOwner } from './owner.ts';

const LOCK_NAME = 'lock';

/** What the lock file says. */
interface LockRecord extends LockOwner {
  readonly command: string;
  /** ISO 8601, UTC. */
  readonly since: string;
}

/** The right to change a store. Readers need none: checkpoints never change and appear by rename. */
export class StoreLock {
  readonly #files: StoreFiles;
  readonly #text: string;
  /** The lock that was taken over because its owner is dead, in words; undefined if there was none. */
  readonly tookOver: string | undefined;

  private constructor(files: StoreFiles, text: string, tookOver: string | undefined) {
    this.#files = files;
    this.#text = text;
    this.tookOver = tookOver;
  }

  /**
   * Takes the lock of a store.
   * @throws StoreLockedError naming the process that holds it, StoreUnusableError if the store cannot be written.
   */
  static async acquire(files: StoreFiles, host: LockHost, command: string): Promise<StoreLock> {
    const record: LockRecord = { ...host.self(), command, since: new Date().toISOString() };
    const text = `${JSON.stringify(record, null, 2)}\n`;
    let tookOver: string | undefined;
    // Each round either gets the lock, finds a living owner, or removes one dead lock.
    for (;;) {
      if (await createLock(files, record, text)) return new StoreLock(files, text, tookOver);
      const found = await files.readText(LOCK_NAME);
      if (found === undefined) continue;
      const owner = parseRecord(found, files);
      refuseUnlessDead(owner, host, files);
      await setAside(files, record, found);
      tookOver = `took over the lock of '${owner.command}' (pid ${owner.pid}, since ${owner.since}), which is no longer running`;
    }
  }

  /** Gives the lock back. */
  async release(): Promise<void> {
    // After a takeover by mistake the lock would be another's: it is removed only if it is still ours.
    if ((await this.#files.readText(LOCK_NAME)) === this.#text)
      await this.#files.remove(LOCK_NAME, 'lock-release');
  }
}

/** Creates the lock with its content in one step: written under a name of its own, then linked. */
async function createLock(files: StoreFiles, record: LockRecord, text: string): Promise<boolean> {
  const draft = `tmp/lock-${record.pid}-${record.startTicks}`;
  await files.remove(draft, 'clean-up');
  files.reached('lock-create');
  return files.attempt('lock', LOCK_NAME, async () => {
    try {
      await writeFile(files.pathOf(draft), text, { mode: 0o600, flag: 'wx' });
      await link(files.pathOf(draft), files.pathOf(LOCK_NAME));
      return true;
    } catch (cause) {
      // The draft is gone if the process that has just got the lock cleaned it up.
      if (isErrno(cause, 'EEXIST') || isErrno(cause, 'ENOENT')) return false;
      throw cause;
    } finally {
      await files.remove(draft, 'clean-up');
    }
  });
}

function refuseUnlessDead(owner: LockRecord, host: LockHost, files: StoreFiles): void {
  const alive = host.isAlive(owner);
  if (alive === false) return;
  const where = alive === undefined ? ` on ${owner.host}` : '';
  throw new StoreLockedError(
    `the store ${files.directory} is in use by '${owner.command}' (pid ${owner.pid}${where}) since ${owner.since}`,
    {
      hint:
        alive === undefined
          ? `if that process has ended, remove ${files.pathOf(LOCK_NAME)}`
          : 'wait until it has finished, or stop it',
      data: { pid: owner.pid, host: owner.host, since: owner.since, command: owner.command },
    },
  );
}

/**
 * Moves a dead owner's lock away. Two processes may find the same dead lock: the slower one could then move the lock
 * that the faster one has just made. It looks at what it moved and puts it back.
 */
async function setAside(files: StoreFiles, record: LockRecord, dead: string): Promise<void> {
  files.reached('lock-take-over');
  const aside = `tmp/dead-lock-${record.pid}-${record.startTicks}`;
  await files.attempt('take over', LOCK_NAME, async () => {
    try {
      await rename(files.pathOf(LOCK_NAME), files.pathOf(aside));
    } catch (cause) {
      if (isErrno(cause, 'ENOENT')) return;
      throw cause;
    }
    const moved = await files.readText(aside);
    if (moved !== undefined && moved !== dead) await link(files.pathOf(aside), files.pathOf(LOCK_NAME));
    await files.remove(aside, 'clean-up');
  });
}

function parseRecord(text: string, files: StoreFiles): LockRecord {
  try {
    const record: unknown = JSON.parse(text);
    if (isLockRecord(record)) return record;
  } catch {
    // Falls through to the one message for everything that is not a lock.
  }
  throw new StoreUnusableError(`the lock ${files.pathOf(LOCK_NAME)} is unreadable`, {
    hint: 'remove it if no other ckpt uses this store',
  });
}

function isLockRecord(value: unknown): value is LockRecord {
  if (typeof value !== 'object' || value === null) return false;
  const fields = new Map(Object.entries(value));
  const texts = ['host', 'bootId', 'pidNamespace', 'startTicks', 'command', 'since'];
  return Number.isInteger(fields.get('pid')) && texts.every((name) => typeof fields.get(name) === 'string');
}
