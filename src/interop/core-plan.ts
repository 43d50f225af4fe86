import { IntegrityError, type PageRangeList, TargetError, UnsupportedError } from '../core/index.ts';
import type { Manifest, StoredProcess, StoredVma } from '../image/index.ts';
import type { CheckpointReader } from '../store/index.ts';
import {
  decodeLiveState,
  type FileIdentity,
  type LiveProcessState,
  type LiveState,
} from '../target/index.ts';
import { type CoreMapping, planCore } from './core-layout.ts';
import type { CoreContents } from './core-writer.ts';
import { FileStandings } from './file-standings.ts';
import { absentPagesOf, type FileStanding, readElfHeaderPage } from './mapped-files.ts';
import { encodeNotes } from './notes.ts';
import { processNotes, threadsWithRegisters } from './process-notes.ts';

/** A core that is ready to be written, and what is to be said about it. */
export interface CorePlan {
  readonly contents: CoreContents;
  readonly process: StoredProcess;
  readonly threads: number;
  /** The program that the process ran, if anybody could tell. */
  readonly exe: FileIdentity | null;
  /** Whether it is still there, and the same. */
  readonly exeStanding: FileStanding;
  /** What a debugger will show differently from the process as it was, and why, as sentences. */
  readonly warnings: readonly string[];
}

/**
 * Decides what goes into the core of one process.
 * @param pid the root of the target unless given.
 * @throws TargetError if the checkpoint has no such process or no registers of it, IntegrityError for damage.
 */
export async function planProcessCore(reader: CheckpointReader, pid: number | undefined): Promise<CorePlan> {
  const { createdAt } = reader.manifest;
  const state = await readState(reader);
  const stored = storedProcess(reader.manifest, pid ?? state.processes[0]!.pid);
  const process = stateOf(state, stored, reader.manifest);
  const present = await (await reader.index(stored.pid)).present();
  const warnings = [...unreadable(reader, stored.pid), ...threadsLeftOut(process)];
  const files = new FileStandings(state, Date.parse(createdAt));
  const mappings = await mappingsOf(stored.vmas, present, files, warnings);
  const notes = encodeNotes(processNotes(state.machine, process, stored.vmas.filter(isMappedFile)));
  return {
    contents: {
      machine: state.machine,
      mappings,
      present,
      notes,
      layout: planCore(mappings, present, notes.length),
    },
    process: stored,
    threads: threadsWithRegisters(process).length,
    exe: process.exe,
    exeStanding: process.exe === null ? 'missing' : await files.ofProgram(process.exe),
    warnings,
  };
}

/** @throws TargetError if there is no such process: an object of shared memory is none */
function storedProcess({ number, processes }: Manifest, pid: number): StoredProcess {
  const candidates = processes.filter(({ sharedMemory }) => sharedMemory === undefined);
  const found = candidates.find((process) => process.pid === pid);
  if (found !== undefined) return found;
  throw new TargetError(`checkpoint ${number} has no process ${pid}`, {
    hint: `it has ${candidates.map((process) => process.pid).join(', ')}`,
    data: { checkpoint: number, pid },
  });
}

async function readState(reader: CheckpointReader): Promise<LiveState> {
  const { number, target, state } = reader.manifest;
  if (target.kind === 'simulated') {
    throw new UnsupportedError(`checkpoint ${number} is of a simulated process, which has no registers`, {
      hint: `its memory can be restored to files with 'ckpt restore --at ${number} --to DIR'`,
      data: { checkpoint: number },
    });
  }
  const bytes = await reader.state();
  if (state === null || bytes === undefined) throw withoutRegisters(reader.manifest);
  return decodeLiveState(bytes, `the state of checkpoint ${number}`);
}

function stateOf(state: LiveState, { pid }: StoredProcess, manifest: Manifest): LiveProcessState {
  const { number } = manifest;
  const process = state.processes.find((candidate) => candidate.pid === pid);
  if (process === undefined) {
    throw new IntegrityError(`the state of checkpoint ${number} does not tell of process ${pid}`, {
      hint: "run 'ckpt verify' to list everything that is damaged",
      data: { checkpoint: number, pid },
    });
  }
  if (threadsWithRegisters(process).length === 0) throw withoutRegisters(manifest, pid);
  return process;
}

/** @param pid the process that has none, if others might have */
function withoutRegisters({ number, target }: Manifest, pid?: number): UnsupportedError {
  const of = pid === undefined ? '' : ` of process ${pid}`;
  return new UnsupportedError(
    `checkpoint ${number} has no registers${of}, and a core without them cannot be opened by a debugger`,
    {
      hint:
        target.kind === 'criu'
          ? 'CRIU keeps them in dumps, of 64-bit programs of x86-64 and aarch64 that have not ended'
          : "take checkpoints where 'ckpt check' says that ptrace works: they have the registers of every thread",
      data: { checkpoint: number },
    },
  );
}

/** Mappings of which the kernel would put a line into NT_FILE: those with an inode behind them. */
function isMappedFile({ inode, pathname }: StoredVma): boolean {
  return inode !== 0 && pathname !== '';
}

function* unreadable({ manifest }: CheckpointReader, pid: number): Generator<string> {
  let pages = 0;
  for (const warning of manifest.warnings) {
    if (warning.pid === pid) pages += warning.endPage - warning.startPage;
  }
  if (pages > 0) {
    yield `${pages} pages could not be read when the checkpoint was taken: the core has zeros for them`;
  }
}

function* threadsLeftOut(process: LiveProcessState): Generator<string> {
  for (const thread of process.threads) {
    if (thread.registers === null)
      yield `thread ${thread.id} is left out: the checkpoint has no registers of it`;
  }
}

/** The mappings as they go into the core; tells of files that are not any more what was mapped. */
async function mappingsOf(
  vmas: readonly StoredVma[],
  present: PageRangeList,
  files: FileStandings,
  warnings: string[],
): Promise<CoreMapping[]> {
  const told = new Set<string>();
  const mappings: CoreMapping[] = [];
  for (const vma of vmas) {
    const absent = absentPagesOf(vma);
    let firstPage: Uint8Array | undefined;
    if (absent === 'file') {
      const standing = await files.of(vma);
      if (!told.has(vma.pathname)) warnings.push(...fileWarning(vma.pathname, standing));
      told.add(vma.pathname);
      const wanted = standing === 'same' && vma.offsetPages === 0 && !present.has(vma.startPage);
      if (wanted) firstPage = await readElfHeaderPage(vma.pathname);
    }
    const { startPage, endPage, read, write, execute } = vma;
    mappings.push({ startPage, endPage, read, write, execute, absent, firstPage });
  }
  return mappings;
}

function* fileWarning(path: string, standing: FileStanding): Generator<string> {
  if (standing === 'missing') {
    yield `${path} is not there any more: its pages that the process had not changed are missing`;
  } else if (standing === 'changed') {
    yield `${path} is not the file any more that was mapped: a debugger will take code and data from the new one`;
  }
}
