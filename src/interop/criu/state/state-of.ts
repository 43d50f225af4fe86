import {
  decodeLiveState,
  encodeLiveState,
  type KnownFile,
  LIVE_STATE_FORMAT,
  type LiveState,
  summaryOfState,
  type TargetState,
} from '../../../target/index.ts';
import { damaged } from '../damage.ts';
import type { MessageFields } from '../images/messages.ts';
import { hasEnded } from '../images/processes.ts';
import { Descriptors } from './descriptors.ts';
import { type DumpContext, readContext } from './dump-context.ts';
import { DumpImages } from './dump-images.ts';
import { gapsOf } from './gaps.ts';
import { objectsOf } from './objects.ts';
import { preDumpState } from './pre-dump.ts';
import { type DescribedProcess, describeProcess, type ProcessImages } from './process.ts';
import type { DirectoryState, MemoryReader, MissingObject, ProcessMappings, StateSource } from './types.ts';
import { mappingsOf, VMA_STATUS } from './vmas.ts';

/** Mappings of files that CRIU does not dump whole. */
const MAPPED_FILE = VMA_STATUS.filePrivate | VMA_STATUS.fileShared;

/**
 * What an image directory of CRIU tells of its processes, beyond the contents of their memory: the mappings, and in the
 * format of live targets registers, threads, signals, timers and files. `LIVE-STATE.md` says what CRIU does not record.
 * @param readMemory for arguments and environment, which are in memory; without it they are gaps
 * @throws IntegrityError naming file and offset
 */
export async function stateOf(source: StateSource, readMemory?: MemoryReader): Promise<DirectoryState> {
  if (source.isPreDump) return preDumpState(source);
  const images = new DumpImages(source.path);
  const processes: ProcessImages[] = [];
  for (const entry of await images.entries('pstree', 'PSTREE')) {
    processes.push(await imagesOf(images, entry));
  }
  const namespaces = new Set(processes.flatMap(({ ids }) => ids?.optionalNumber('ipc_ns_id') ?? []));
  const context = await readContext(images, namespaces);
  const mappings = processes.map((process) => processMappings(process, context));
  const objects = objectsOf(source.memories, mappings, context);
  const known = new Set(objects.map(({ id }) => id));
  return {
    state: await describe(processes, context, source, readMemory),
    processes: mappings.map((process) => ({
      ...process,
      sharedRanges: process.sharedRanges.filter(({ objectId }) => known.has(objectId)),
    })),
    objects,
    missingObjects: missingObjects(source.memories, mappings),
  };
}

function missingObjects(
  memories: StateSource['memories'],
  processes: readonly ProcessMappings[],
): MissingObject[] {
  const present = new Set(memories.flatMap(({ object }) => (object.kind === 'shmem' ? [object.id] : [])));
  return processes.flatMap(({ pid, sharedRanges }) =>
    sharedRanges
      .filter(({ objectId }) => !present.has(objectId))
      .map(({ startPage, objectId }) => ({ pid, startPage, objectId })),
  );
}

async function imagesOf(images: DumpImages, entry: MessageFields): Promise<ProcessImages> {
  const pid = entry.number('pid');
  const core = await images.required(`core-${pid}`, 'CORE');
  const task = core.message('tc');
  if (task === undefined) throw damaged(core, 'it is of a thread that leads no process');
  return {
    entry,
    pid,
    core,
    task,
    ids: (await images.entry(`ids-${pid}`, 'IDS')) ?? core.message('ids'),
    mm: hasEnded(task) ? undefined : await images.required(`mm-${pid}`, 'MM'),
  };
}

function processMappings({ pid, entry, task, mm }: ProcessImages, context: DumpContext): ProcessMappings {
  const { vmas, sharedRanges } =
    mm === undefined
      ? { vmas: [], sharedRanges: [] }
      : mappingsOf(mm.messages('vmas'), {
          files: context.files,
          segments: context.segments,
          stackAddress: mm.big('mm_start_stack'),
        });
  return { pid, parentPid: entry.number('ppid'), name: task.text('comm'), vmas, sharedRanges };
}

/** @returns undefined for machines whose registers ckpt does not know */
async function describe(
  processes: readonly ProcessImages[],
  context: DumpContext,
  { path }: StateSource,
  readMemory: MemoryReader | undefined,
): Promise<TargetState | undefined> {
  const descriptors = new Descriptors(context.files, context.pipes);
  const described: DescribedProcess[] = [];
  for (const process of processes) {
    described.push(await describeProcess(process, context, descriptors, readMemory));
  }
  const machine = described.find((process) => process.machine !== undefined)?.machine;
  if (machine === undefined) return undefined;
  const state: LiveState = {
    machine,
    kernelRelease: '',
    bootId: '',
    processes: described.map((process) => process.state),
    gaps: gapsOf(processes, described, context),
    mappedFiles: mappedFilesOf(processes, context),
  };
  const bytes = encodeLiveState(state);
  // What is stored must be readable for ever: whatever no image of CRIU could say is found here.
  decodeLiveState(bytes, `what ${path} tells of its processes`);
  return { format: LIVE_STATE_FORMAT, bytes, summary: summaryOfState(state) };
}

/** What is known of the files that processes have mapped. */
function mappedFilesOf(processes: readonly ProcessImages[], { files }: DumpContext): KnownFile[] {
  const ids = new Set<number>();
  for (const { mm } of processes) {
    for (const vma of mm?.messages('vmas') ?? []) {
      if ((vma.number('status') & MAPPED_FILE) !== 0) ids.add(vma.number('shmid'));
    }
  }
  const known = new Map<string, KnownFile>();
  for (const id of ids) {
    const file = files.get(id);
    if (file?.kind !== 'file' || file.deleted) continue;
    const { path, sizeBytes, buildId } = file;
    if (sizeBytes > 0 || buildId !== undefined)
      known.set(path, { path, sizeBytes, buildId: buildId ?? null });
  }
  return [...known.values()];
}
