import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { JsonFields, OutputError, UsageError } from '../../core/index.ts';
import { openSealedJson, sealJson } from '../../image/index.ts';
import type { Target } from '../../target/index.ts';

/** Emptied when the machine starts anew, as are the processes. */
export const SOURCE_RECORDS_DIRECTORY = '/run/ckpt/migrations';

const FORMAT = 'ckpt-migration-source';

/** A process that was told to stay stopped. */
interface HeldProcess {
  readonly pid: number;
  /** Tells it from later ones with its PID. */
  readonly fingerprint: string;
}

/** What a source notes before it tells the destination to run a live target. */
export interface SourceRecord {
  readonly migrationId: string;
  readonly name: string;
  /** Root first. */
  readonly processes: readonly HeldProcess[];
}

/** The record of one migration of a live target, for the case that the source never hears of its end. */
export class SourceRecordFile {
  readonly path: string;

  constructor(migrationId: string, directory = SOURCE_RECORDS_DIRECTORY) {
    if (!/^[0-9a-f]{8,64}$/.test(migrationId)) {
      throw new UsageError(`'${migrationId}' names no migration`, {
        hint: 'ckpt migrate prints the id of a migration that is in doubt',
      });
    }
    this.path = join(directory, `${migrationId}.json`);
  }

  /** Notes what is being moved; on disk when it returns. @throws OutputError */
  write(migrationId: string, target: Target): void {
    const processes = target.processes().map(({ pid, fingerprint = '' }) => ({ pid, fingerprint }));
    const record: SourceRecord = { migrationId, name: target.identity.name, processes };
    try {
      mkdirSync(join(this.path, '..'), { recursive: true, mode: 0o700 });
      // Whole or not at all: whoever kills us in the middle leaves a target that goes on, and nothing to resolve.
      const draft = `${this.path}.draft`;
      const file = openSync(draft, 'w', 0o600);
      try {
        writeFileSync(file, sealJson(FORMAT, { ...record }));
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      renameSync(draft, this.path);
    } catch (cause) {
      throw new OutputError(`cannot note the migration in ${this.path}: ${(cause as Error).message}`, {
        hint: 'without the note nobody could end or resume the target should the connection be lost',
        cause,
      });
    }
  }

  /** @throws UsageError if there is none, IntegrityError if it is damaged */
  read(): SourceRecord {
    let text: string;
    try {
      text = readFileSync(this.path, 'utf8');
    } catch (cause) {
      throw new UsageError(`no migration of this id is in doubt here: ${(cause as Error).message}`, {
        cause,
      });
    }
    const fields = new JsonFields(openSealedJson(text, FORMAT, this.path), this.path);
    return {
      migrationId: fields.text('migrationId'),
      name: fields.text('name'),
      processes: fields.objects('processes').map((process) => ({
        pid: process.count('pid', 1),
        fingerprint: process.text('fingerprint'),
      })),
    };
  }

  remove(): void {
    rmSync(this.path, { force: true });
  }
}
