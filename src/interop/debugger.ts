import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { constants as systemConstants, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { OutputError, UnsupportedError } from '../core/index.ts';
import type { FileIdentity } from '../target/index.ts';
import { type CoreSource, fillCore, withCheckpoint } from './core-file.ts';
import type { FileStanding } from './mapped-files.ts';

/** Which process of which checkpoint to look at, and how. */
export interface DebugRequest extends CoreSource {
  /** Name or path of gdb. */
  readonly gdb: string;
  /** Further arguments for gdb. */
  readonly gdbArguments: readonly string[];
  /** Told what the debugger will show differently from the process as it was. */
  readonly onWarning: (warning: string) => void;
  /** Told when gdb has the terminal; `forward` sends it a signal. */
  readonly onStart: (forward: (signal: NodeJS.Signals) => void) => void;
}

/** Descriptor at which gdb finds the core. */
const CORE_DESCRIPTOR = 3;

/**
 * Writes the core of a process of a checkpoint and opens it in gdb, with the streams of this process. The core has no
 * name from before anything is written to it: nobody else can open it, and nothing of it is left however ckpt ends.
 * @returns gdb's exit status; 128 and its number if a signal ended it.
 * @throws UnsupportedError if there is no gdb, and what `writeCoreFile` throws.
 */
export async function debugCheckpoint(request: DebugRequest): Promise<number> {
  requireProgram(request.gdb);
  const core = await openNameless();
  try {
    const program = await withCheckpoint(request, async (reader, plan) => {
      for (const warning of plan.warnings) request.onWarning(warning);
      await fillCore(reader, plan, core.file, core.path, request).catch((error: unknown) => {
        throw withRoomHint(error);
      });
      const { exe, exeStanding } = plan;
      return exe === null ? [] : programArguments(exe, exeStanding, request.onWarning);
    });
    request.signal?.throwIfAborted();
    return await runGdb(request, core.file.fd, program);
  } finally {
    await core.file.close();
  }
}

async function runGdb(
  { gdb, gdbArguments, onStart }: DebugRequest,
  core: number,
  program: readonly string[],
): Promise<number> {
  const child = spawn(gdb, [...program, `--core=/proc/self/fd/${CORE_DESCRIPTOR}`, ...gdbArguments], {
    stdio: ['inherit', 'inherit', 'inherit', core],
  });
  onStart((signal) => child.kill(signal));
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return code ?? 128 + (signal === null ? 0 : systemConstants.signals[signal]);
}

/** The program for gdb, if it is there; warns if it is not the one that ran. */
function programArguments(
  { path }: FileIdentity,
  standing: FileStanding,
  onWarning: (warning: string) => void,
): readonly string[] {
  if (standing === 'missing') {
    onWarning(`${path}, the program that ran, is not there: gdb will know no symbols of it`);
    return [];
  }
  if (standing === 'changed') {
    onWarning(`${path} is not the program any more that ran: symbols and lines may be wrong`);
  } else if (standing === 'unknown') {
    onWarning(`nothing tells whether ${path} is the program that ran: symbols and lines may be wrong`);
  }
  return [`--se=${path}`];
}

/** A file in a private directory, both of which have lost their names already. */
async function openNameless(): Promise<{ file: FileHandle; path: string }> {
  try {
    const directory = await mkdtemp(join(tmpdir(), 'ckpt-gdb-'));
    try {
      const path = join(directory, 'core');
      return { file: await open(path, 'wx+', 0o600), path };
    } finally {
      await rm(directory, { recursive: true });
    }
  } catch (cause) {
    throw new OutputError(`cannot keep a core in ${tmpdir()}: ${(cause as Error).message}`, {
      hint: ROOM_HINT,
      cause,
    });
  }
}

const ROOM_HINT = 'set TMPDIR to a directory on a file system with room for the memory of the process';

function withRoomHint(error: unknown): unknown {
  if (!(error instanceof OutputError)) return error;
  return new OutputError(error.message, { hint: ROOM_HINT, data: error.data, cause: error });
}

/** @throws UnsupportedError if there is no such program. */
function requireProgram(name: string): void {
  const paths = name.includes('/')
    ? [name]
    : (process.env['PATH'] ?? '').split(delimiter).map((directory) => join(directory, name));
  const found = paths.some((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
  if (found) return;
  throw new UnsupportedError(`there is no ${name} on this machine`, {
    hint: 'install gdb, or name another with --gdb',
    data: { program: name },
  });
}
