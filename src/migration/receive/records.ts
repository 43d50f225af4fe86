import { constants } from 'node:fs';
import { open, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { JsonFields } from '../../core/index.ts';
import { openSealedJson, sealJson } from '../../image/index.ts';
import { asStoreError, MIGRATIONS_FOLDER, makeDirectory } from '../../store/index.ts';
import type { TargetIdentity } from '../../target/index.ts';

const FORMAT = 'ckpt-migration';
const MIGRATION_ID = /^[A-Za-z0-9-]{1,64}$/;
const RECORD_SUFFIX = '.json';

/** How far a migration has come at its destination. */
export const MIGRATION_STATUSES = [
  'receiving',
  'committed',
  'fetching',
  'started',
  'kept',
  'failed',
] as const;

/**
 * `receiving`: nothing of it may ever run unless `committed` follows. `committed`: it is to run here, and nowhere else.
 * `fetching`: it runs here while memory of it is still at the source. `started`: it runs here, or has. `kept`: it could not be made to run; its checkpoint is here, and the source goes on.
 * `failed`: nothing of it is here.
 */
export type MigrationStatus = (typeof MIGRATION_STATUSES)[number];

/** A process, so that it cannot be taken for a later one with its PID. */
export interface StartedProcess {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat. */
  readonly startTicks: string;
  /** /proc/sys/kernel/random/boot_id. */
  readonly bootId: string;
}

/** A checkpoint that a migration wrote. */
export interface WrittenCheckpoint {
  readonly number: number;
  /** As in its manifest: another checkpoint that has got the number since has another. */
  readonly createdAt: string;
}

/** What the directory of a store keeps of a migration that it received. */
export interface MigrationRecord {
  readonly migrationId: string;
  readonly status: MigrationStatus;
  readonly target: TargetIdentity;
  /** Those that it has written or is about to write. */
  readonly checkpoints: readonly WrittenCheckpoint[];
  /** The root of a live target: being prepared or running. */
  readonly process: StartedProcess | null;
  /** Why it failed or was kept, for people; empty otherwise. */
  readonly detail: string;
  /** When it began; ISO 8601, UTC. */
  readonly since: string;
}

/** Whether a text can name a migration; whatever else a peer sends must not become the name of a file. */
export function isMigrationId(text: string): boolean {
  return MIGRATION_ID.test(text);
}

/** The records of a store. Each is replaced as a whole, and is on disk when `write` resolves. */
export class MigrationRecords {
  readonly #directory: string;

  constructor(storeDirectory: string) {
    this.#directory = join(storeDirectory, MIGRATIONS_FOLDER);
  }

  /**
   * The record of a migration, or undefined if there is none.
   * @throws IntegrityError, StoreUnusableError
   */
  async read(migrationId: string): Promise<MigrationRecord | undefined> {
    const path = this.#pathOf(migrationId);
    const text = await this.#attempt('read', path, () => readFile(path, 'utf8').catch(ifMissing));
    return text === undefined ? undefined : decode(text, path);
  }

  /** All records. @throws IntegrityError, StoreUnusableError */
  async all(): Promise<MigrationRecord[]> {
    const names = await this.#attempt('list', this.#directory, () =>
      readdir(this.#directory).catch(ifMissing),
    );
    const records: MigrationRecord[] = [];
    for (const name of (names ?? []).sort()) {
      const id = name.endsWith(RECORD_SUFFIX) ? name.slice(0, -RECORD_SUFFIX.length) : '';
      const record = isMigrationId(id) ? await this.read(id) : undefined;
      if (record !== undefined) records.push(record);
    }
    return records;
  }

  /** Keeps a record in place of the one before. @throws StoreFullError, StoreUnusableError */
  async write(record: MigrationRecord): Promise<void> {
    const path = this.#pathOf(record.migrationId);
    await this.#attempt('write', path, async () => {
      await makeDirectory(this.#directory);
      const draft = join(this.#directory, `.${record.migrationId}.draft`);
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
      const file = await open(draft, flags, 0o600);
      try {
        await file.writeFile(sealJson(FORMAT, { ...record }));
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(draft, path);
      const directory = await open(this.#directory, constants.O_RDONLY | constants.O_DIRECTORY);
      try {
        await directory.sync();
      } finally {
        await directory.close();
      }
    });
  }

  #pathOf(migrationId: string): string {
    if (!isMigrationId(migrationId)) throw new RangeError(`'${migrationId}' names no migration`);
    return join(this.#directory, `${migrationId}${RECORD_SUFFIX}`);
  }

  async #attempt<Result>(doing: string, path: string, operation: () => Promise<Result>): Promise<Result> {
    try {
      return await operation();
    } catch (error) {
      throw asStoreError(error, doing, path);
    }
  }
}

function decode(text: string, path: string): MigrationRecord {
  const fields = new JsonFields(openSealedJson(text, FORMAT, path), path);
  const target = fields.object('target');
  const process = fields.objectOrNull('process');
  return {
    migrationId: fields.checked(
      'migrationId',
      (id): id is string => isMigrationId(id),
      'letters, digits and hyphens',
    ),
    status: fields.oneOf('status', MIGRATION_STATUSES),
    target: {
      kind: target.oneOf('kind', ['simulated', 'live'] as const),
      name: target.text('name'),
      fingerprint: target.text('fingerprint'),
    },
    checkpoints: fields.objects('checkpoints').map((checkpoint) => ({
      number: checkpoint.count('number', 1),
      createdAt: checkpoint.text('createdAt'),
    })),
    process:
      process === null
        ? null
        : {
            pid: process.count('pid', 1),
            startTicks: process.text('startTicks'),
            bootId: process.text('bootId'),
          },
    detail: fields.text('detail'),
    since: fields.text('since'),
  };
}

function ifMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT') return undefined;
  throw error;
}
