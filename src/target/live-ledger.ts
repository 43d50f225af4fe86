import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { errnoOf } from './live-files.ts';
import type { ClearLedger } from './view.ts';

/**
 * Signatures of those who clear soft-dirty bits, one small file for each process, in a directory that a restart of
 * the machine empties. All users of ckpt who may clear at all (root, as frame numbers are needed) share it.
 */
export const DEFAULT_LEDGER_DIRECTORY = '/run/ckpt/soft-dirty';

/** The ledger of one process, told from others with its PID by its start time. */
export function fileLedger(directory: string, pid: number, startTicks: number): ClearLedger {
  const path = `${directory}/${pid}-${startTicks}`;
  return {
    lastSignature() {
      try {
        return readFileSync(path, 'utf8');
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') return undefined;
        throw error;
      }
    },
    sign(signature) {
      const temporary = `${path}.${process.pid}`;
      writeFileSync(temporary, signature, { mode: 0o600 });
      renameSync(temporary, path);
    },
  };
}

/**
 * Makes the directory and removes what ended processes left in it.
 * @returns why no ledger can be kept here; undefined if one can
 */
export function prepareLedger(directory: string): string | undefined {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const running = new Set(readdirSync('/proc'));
    for (const name of readdirSync(directory)) {
      if (!running.has(name.split('-')[0]!)) rmSync(`${directory}/${name}`, { force: true });
    }
    return undefined;
  } catch (error) {
    return `signatures of cleared bits cannot be kept in ${directory} (${errnoOf(error) ?? String(error)})`;
  }
}
