import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  coreImage,
  type EncodedEntry,
  type EncodedVma,
  fdinfoImage,
  filesImage,
  fsImage,
  type ImageVersion,
  idsImage,
  inventoryImage,
  mmImage,
  pagemapImage,
  pstreeImage,
  regularFile,
  VMA_STATUS,
} from './image-encoder.ts';

/** The memory of a process or of a shared object as one directory has it. */
export interface MemoryModel {
  readonly entries: readonly EncodedEntry[];
  /** The content of a page that is present. */
  readonly content: (page: number) => Uint8Array;
}

export interface ProcessModel extends MemoryModel {
  readonly pid: number;
  readonly parentPid?: number;
  readonly name?: string;
  /** The process first; itself alone unless given. */
  readonly threads?: readonly number[];
  /** 1 alive, which is the default, 3 stopped, 6 zombie (without memory). */
  readonly state?: number;
  /** Private anonymous mappings around the entries unless given. */
  readonly vmas?: readonly EncodedVma[];
}

export interface SharedModel extends MemoryModel {
  /** In decimal. */
  readonly id: string;
}

/** What a directory of CRIU is to hold. */
export interface DirectoryModel {
  readonly version?: ImageVersion;
  readonly preDump?: boolean;
  /** When it was taken, in microseconds. */
  readonly uptime?: number;
  /** What the link `parent` says, such as `../1`. */
  readonly parent?: string;
  /** The root of the tree first. */
  readonly processes: readonly ProcessModel[];
  readonly shared?: readonly SharedModel[];
  /** Beyond the images that are made of the model; names are relative to the directory. */
  readonly files?: Readonly<Record<string, Uint8Array | string>>;
}

/** Writes a directory as CRIU does, by an encoder that shares no code with the reader. */
export async function writeImageDirectory(path: string, model: DirectoryModel): Promise<void> {
  await mkdir(path, { recursive: true });
  const version = model.version ?? 'both';
  const put = async (name: string, content: Uint8Array | string) => {
    await mkdir(dirname(join(path, name)), { recursive: true });
    await writeFile(join(path, name), content);
  };
  if (model.parent !== undefined) await symlink(model.parent, join(path, 'parent'));
  const uptime = model.uptime ?? (model.preDump === true ? 5_000_000 : 6_000_000);
  const facts = model.preDump === true ? { preDumpMode: 1, uptime } : { uptime };
  await put('inventory.img', inventoryImage(version, facts));
  let pagesId = 1;
  const putMemory = async (name: string, { entries, content }: MemoryModel) => {
    await put(name, pagemapImage(version, pagesId, entries));
    const pages = presentPages(entries).map(content);
    if (pages.length > 0) await put(`pages-${pagesId}.img`, Buffer.concat(pages));
    pagesId++;
  };
  // In the order of a pre-dump: shared memory first.
  for (const object of model.shared ?? []) await putMemory(`pagemap-shmem-${object.id}.img`, object);
  for (const process of model.processes) {
    if (!isZombie(process)) await putMemory(`pagemap-${process.pid}.img`, process);
  }
  if (model.preDump !== true) await putTasks(model.processes, put);
  for (const [name, content] of Object.entries(model.files ?? {})) await put(name, content);
}

async function putTasks(
  processes: readonly ProcessModel[],
  put: (name: string, content: Uint8Array) => Promise<void>,
): Promise<void> {
  await put(
    'pstree.img',
    pstreeImage(
      processes.map(({ pid, parentPid, threads }) => ({
        pid,
        parentPid: parentPid ?? 0,
        threads: threads ?? [pid],
      })),
    ),
  );
  await put('files.img', filesImage(regularFile(1, '/usr/bin/program')));
  for (const process of processes) {
    const { pid, name = 'program', threads = [pid], state = 1 } = process;
    await put(`core-${pid}.img`, coreImage(pid, name, { state }));
    for (const tid of threads.slice(1)) await put(`core-${tid}.img`, coreImage(tid, name, undefined));
    if (isZombie(process)) continue;
    await put(`mm-${pid}.img`, mmImage(process.vmas ?? vmasAround(process.entries)));
    await put(`ids-${pid}.img`, idsImage(pid));
    await put(`fs-${pid}.img`, fsImage());
    await put(`fdinfo-${pid}.img`, fdinfoImage({ id: 1, fd: 0 }));
  }
}

const isZombie = ({ state }: ProcessModel) => state === 6 || state === 2;

/** The pages of a pages file, in its order. */
export function presentPages(entries: readonly EncodedEntry[]): number[] {
  return entries
    .filter(({ flags }) => (flags & 4) !== 0)
    .flatMap(({ startPage, pageCount }) =>
      Array.from({ length: pageCount }, (_, index) => startPage + index),
    );
}

/** Private anonymous mappings that just cover entries. */
export function vmasAround(entries: readonly EncodedEntry[]): EncodedVma[] {
  const vmas: EncodedVma[] = [];
  for (const { startPage, pageCount } of entries) {
    const last = vmas.at(-1);
    const endPage = startPage + pageCount;
    if (last?.endPage === startPage) vmas[vmas.length - 1] = { ...last, endPage };
    else vmas.push({ startPage, endPage, status: VMA_STATUS.regular | VMA_STATUS.anonymousPrivate });
  }
  return vmas;
}
