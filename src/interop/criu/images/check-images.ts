import { IntegrityError, UsageError } from '../../../core/index.ts';
import { damaged } from '../damage.ts';
import { ImageFile } from '../image-file.ts';
import { messagesOf } from './messages.ts';
import { missingImage } from './processes.ts';
import type { ImageDirectory, KeptFile } from './types.ts';

/** What is in images of these names, which `-` and a number may follow (criu/image-desc.c). */
const KIND_OF_NAME: Readonly<Record<string, string>> = {
  inventory: 'INVENTORY',
  pstree: 'PSTREE',
  core: 'CORE',
  mm: 'MM',
  ids: 'IDS',
  fs: 'FS',
  files: 'FILES',
  fdinfo: 'FDINFO',
  seccomp: 'SECCOMP',
  cgroup: 'CGROUP',
  timens: 'TIMENS',
  memfd: 'MEMFD_INODE',
  utsns: 'UTSNS',
  userns: 'USERNS',
  mountpoints: 'MNTS',
  netns: 'NETNS',
  netdev: 'NETDEV',
  filelocks: 'FILE_LOCKS',
  'ipcns-var': 'IPC_VAR',
  'ipcns-shm': 'IPCNS_SHM',
  'ipcns-msg': 'IPCNS_MSG',
  'ipcns-sem': 'IPCNS_SEM',
  'pipes-data': 'PIPES_DATA',
  'fifo-data': 'FIFO_DATA',
  'sk-queues': 'SK_QUEUES',
  'tcp-stream': 'TCP_STREAM',
  'ghost-file': 'GHOST_FILE',
  'remap-fpath': 'REMAP_FPATH',
  'tty-info': 'TTY_INFO',
  'tty-data': 'TTY_DATA',
};

/** What other programs wrote for CRIU, without a magic number: iproute2, iptables, conntrack and tar. */
const RAW_IMAGE =
  /^(tmpfs(-dev)?-\d+\.tar\.gz|(ifaddr|route6?|rule|ip6?tables|nftables|netns-(ct|exp))-\d+)\.img$/;

/**
 * Reads every image of a directory to its end. Files that are no images, as those of iproute and tar, are not looked
 * into; nor are images of kinds that are not known here.
 * @returns what could not be checked, as sentences
 * @throws IntegrityError naming file and offset
 */
export async function checkImages(directory: ImageDirectory, signal?: AbortSignal): Promise<string[]> {
  const unchecked: string[] = [];
  for (const file of directory.otherFiles) {
    signal?.throwIfAborted();
    if (file.kind !== 'file' || file.name.includes('/') || !file.name.endsWith('.img')) continue;
    if (RAW_IMAGE.test(file.name)) continue;
    if (!(await checkImage(file))) unchecked.push(`${file.path} is kept as it is: ckpt cannot check it`);
  }
  await requireProcesses(directory);
  return [...unchecked, ...(await missingDescriptors(directory))];
}

/** @returns whether it could be checked */
async function checkImage({ path, name }: KeptFile): Promise<boolean> {
  const expected = KIND_OF_NAME[name.replace(/(-[0-9a-f]+)?\.img$/, '')];
  let image: ImageFile;
  try {
    image = await ImageFile.open(path);
  } catch (error) {
    const isOther = error instanceof UsageError || error instanceof IntegrityError;
    if (isOther && expected === undefined) return false;
    throw error;
  }
  if (expected !== undefined && image.kind.name !== expected) {
    await image.close();
    throw damaged({ path, offsetBytes: 4 }, `it is an image ${image.kind.name} and no ${expected}`);
  }
  for await (const _entry of image.entries()) {
    // Reading is the check.
  }
  return true;
}

/** A process without open files has no such image either, so that this cannot be refused; criu restores it without. */
async function missingDescriptors({
  path,
  isPreDump,
  processes,
  otherFiles,
}: ImageDirectory): Promise<string[]> {
  if (isPreDump) return [];
  const names = new Set(otherFiles.map(({ name }) => name));
  const missing: string[] = [];
  for (const { pid, state } of processes) {
    if (state === 'zombie') continue;
    const [ids] = await messagesOf(`${path}/ids-${pid}.img`, 'IDS');
    const name = `fdinfo-${ids?.optionalNumber('files_id') ?? 0}.img`;
    if (names.has(name)) continue;
    missing.push(`${path}/${name} is not there: criu will restore process ${pid} without open files`);
  }
  return missing;
}

const SENT_AWAY = "if criu sent the pages to 'ckpt page-server', 'ckpt adopt' joins the rest to them";

/** CRIU leaves out images without entries, but every process that lives has these. */
async function requireProcesses({ path, isPreDump, processes, memories, otherFiles }: ImageDirectory) {
  if (isPreDump && memories.length === 0) {
    throw new IntegrityError(`${path} is a pre-dump without pages: it has no pagemap of any process`, {
      hint: SENT_AWAY,
      data: { path },
    });
  }
  if (isPreDump) return;
  const names = new Set([...otherFiles, ...memories].map(({ name }) => name));
  for (const { pid, state, threads } of processes) {
    const needed = threads.map((tid) => `core-${tid}.img`);
    if (state !== 'zombie')
      needed.push(`mm-${pid}.img`, `pagemap-${pid}.img`, `ids-${pid}.img`, `fs-${pid}.img`);
    const missing = needed.find((name) => !names.has(name));
    if (missing === undefined) continue;
    throw missingImage(`${path}/${missing}`, pid, missing.startsWith('pagemap') ? SENT_AWAY : undefined);
  }
  const known = new Set(processes.map(({ pid }) => pid));
  for (const { object, name } of memories) {
    if (object.kind === 'shmem' || known.has(object.pid)) continue;
    throw new IntegrityError(`${path}/${name} is of no process in pstree.img`, {
      hint: 'it may be left from another dump into the same directory; remove it and its pages file',
      data: { path: `${path}/${name}`, pid: object.pid },
    });
  }
}
