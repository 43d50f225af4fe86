import { formatPageAddress, PAGE_SIZE, type PageRange } from '../../../core/index.ts';
import { ADDRESS_SPACE_PAGES, type StoredVma } from '../../../image/index.ts';
import { damaged } from '../damage.ts';
import type { MessageFields } from '../images/messages.ts';
import type { FileTable } from './file-table.ts';
import { segmentName } from './objects.ts';
import type { ObjectRange } from './types.ts';

/** What the status of a VMA says (criu/include/image.h, VMA_*). */
export const VMA_STATUS = {
  stack: 1 << 1,
  vsyscall: 1 << 2,
  vdso: 1 << 3,
  heap: 1 << 5,
  filePrivate: 1 << 6,
  fileShared: 1 << 7,
  anonymousShared: 1 << 8,
  anonymousPrivate: 1 << 9,
  sysvipc: 1 << 10,
  socket: 1 << 11,
  vvar: 1 << 12,
  aioRing: 1 << 13,
  memfd: 1 << 14,
  shadowStack: 1 << 15,
  guard: 1 << 16,
  uprobes: 1 << 17,
} as const;

/** Mappings whose pages CRIU dumped with the object that they show, not with the process. */
const OBJECT_STATUS = VMA_STATUS.anonymousShared | VMA_STATUS.sysvipc | VMA_STATUS.memfd;

/** Ids of objects are inode numbers, which may have more bits than an exact number of JavaScript. */
const SAFE_BITS = 53;

const PROTECTION = { read: 1, write: 2, execute: 4 } as const;
const MAP_SHARED = 0x1;
const MAP_PRIVATE = 0x2;
const MAP_ANONYMOUS = 0x20;
const MAP_HUGETLB = 0x40000;

/** Two letters of VmFlags (fs/proc/task_mmu.c, show_smap_vma_flags) by bits of `flags`. */
const MAP_FLAGS = [
  [0x100, 'gd'],
  [0x2000, 'lo'],
  [0x4000, 'nr'],
  [MAP_HUGETLB, 'ht'],
] as const;

/** The same by advice that was given (include/uapi/asm-generic/mman-common.h): bit MADV_x of `madv`. */
const ADVICE_FLAGS = [
  [1, 'rr'],
  [2, 'sr'],
  [10, 'dc'],
  [16, 'dd'],
  [18, 'wf'],
  [14, 'hg'],
  [15, 'nh'],
  [12, 'mg'],
] as const;

/** What names mappings that have no name of their own. */
export interface MappingNames {
  readonly files: Pick<FileTable, 'get' | 'path'>;
  /** Segments of System V shared memory by their ids. */
  readonly segments: ReadonlyMap<number, { readonly key: number }>;
  readonly stackAddress: bigint;
}

/** The mappings of a process. */
export interface Mappings {
  readonly vmas: StoredVma[];
  readonly sharedRanges: ObjectRange[];
}

/**
 * Makes the mappings of an image MM as maps and smaps would have them. Inode numbers of files are not recorded: the id
 * of the file in the images stands in their place, so that the mapping is known to be one of a file.
 * @throws IntegrityError for mappings that cannot be
 */
export function mappingsOf(messages: readonly MessageFields[], names: MappingNames): Mappings {
  const vmas: StoredVma[] = [];
  const sharedRanges: ObjectRange[] = [];
  let end = 0;
  for (const message of messages) {
    const status = message.number('status');
    // Not a mapping but a mark inside of one, which stands behind all others.
    if ((status & VMA_STATUS.guard) !== 0) continue;
    const vma = vmaOf(message, status, names);
    if (vma.startPage < end)
      throw damaged(message, `the mapping at ${formatPageAddress(vma.startPage)} is not in order`);
    end = vma.endPage;
    vmas.push(vma);
    const objectId = objectIdOf(message, status, names);
    if (objectId !== undefined) {
      const { startPage, endPage, offsetPages } = vma;
      sharedRanges.push({ startPage, endPage, objectId, objectPage: offsetPages });
    }
  }
  return { vmas, sharedRanges };
}

function vmaOf(message: MessageFields, status: number, names: MappingNames): StoredVma {
  const [startPage, endPage] = [pageOf(message, 'start'), pageOf(message, 'end')];
  if (endPage <= startPage)
    throw damaged(message, `a mapping ends at ${formatPageAddress(endPage)} before it begins`);
  const [protection, flags] = [message.number('prot'), message.number('flags')];
  const shared = (flags & (MAP_SHARED | MAP_PRIVATE)) !== MAP_PRIVATE;
  const range = { startPage, endPage };
  const offsetPages = hasOffset(status, flags) ? pageOf(message, 'pgoff') : 0;
  if (offsetPages + endPage - startPage > ADDRESS_SPACE_PAGES)
    throw damaged(message, `the mapping at ${formatPageAddress(startPage)} shows what no file can have`);
  return {
    ...range,
    read: (protection & PROTECTION.read) !== 0,
    write: (protection & PROTECTION.write) !== 0,
    execute: (protection & PROTECTION.execute) !== 0,
    shared,
    offsetPages,
    deviceMajor: 0,
    deviceMinor: 0,
    ...identityOf(message, status, range, names),
    flags: vmFlags(message, status, protection, flags, shared),
  };
}

/** Private memory has a pgoff that means nothing; maps shows 0. */
function hasOffset(status: number, flags: number): boolean {
  return (
    (status & (OBJECT_STATUS | VMA_STATUS.filePrivate | VMA_STATUS.fileShared)) !== 0 ||
    (flags & MAP_ANONYMOUS) === 0
  );
}

/** Name and inode number as maps would have them. */
function identityOf(
  message: MessageFields,
  status: number,
  range: PageRange,
  names: MappingNames,
): Pick<StoredVma, 'pathname' | 'inode'> {
  const id = Number(BigInt.asUintN(SAFE_BITS, message.big('shmid')));
  const nameOf = (name: string, inode = 0) => ({ pathname: name, inode });
  if ((status & VMA_STATUS.vdso) !== 0) return nameOf('[vdso]');
  if ((status & VMA_STATUS.vvar) !== 0) return nameOf('[vvar]');
  if ((status & VMA_STATUS.vsyscall) !== 0) return nameOf('[vsyscall]');
  if ((status & VMA_STATUS.uprobes) !== 0) return nameOf('[uprobes]');
  if ((status & VMA_STATUS.aioRing) !== 0) return nameOf('/[aio] (deleted)', 1);
  if ((status & VMA_STATUS.sysvipc) !== 0)
    return nameOf(`${segmentName(names.segments.get(id)?.key ?? 0)} (deleted)`, id);
  if ((status & (VMA_STATUS.filePrivate | VMA_STATUS.fileShared | VMA_STATUS.memfd)) !== 0) {
    return nameOf(names.files.path(id) ?? `file ${id}`, id);
  }
  if ((status & VMA_STATUS.anonymousShared) !== 0) return nameOf('/dev/zero (deleted)', id);
  if ((status & VMA_STATUS.socket) !== 0) return nameOf('socket:[packet]', id);
  if ((message.number('flags') & MAP_HUGETLB) !== 0) return nameOf('/anon_hugepage (deleted)', id);
  if ((status & VMA_STATUS.heap) !== 0) return nameOf('[heap]');
  return nameOf(isStack(range, status, names) ? '[stack]' : '');
}

function isStack({ startPage, endPage }: PageRange, status: number, { stackAddress }: MappingNames): boolean {
  const page = Number(stackAddress / BigInt(PAGE_SIZE));
  return (status & VMA_STATUS.stack) !== 0 || (startPage <= page && page < endPage);
}

/** The object whose pages a mapping shows; undefined if its pages are the process's own, or those of a file. */
function objectIdOf(message: MessageFields, status: number, { files }: MappingNames): string | undefined {
  if ((status & OBJECT_STATUS) === 0) return undefined;
  if ((status & VMA_STATUS.memfd) === 0) return message.big('shmid').toString();
  // A private mapping of a memfd: what was written to it is the process's own.
  if ((status & VMA_STATUS.filePrivate) !== 0) return undefined;
  return files.get(Number(message.big('shmid')))?.objectId;
}

function vmFlags(
  message: MessageFields,
  status: number,
  protection: number,
  flags: number,
  shared: boolean,
): string[] {
  const advice = message.optionalBig('madv') ?? 0n;
  const is = (condition: boolean, flag: string) => (condition ? [flag] : []);
  return [
    ...is((protection & PROTECTION.read) !== 0, 'rd'),
    ...is((protection & PROTECTION.write) !== 0, 'wr'),
    ...is((protection & PROTECTION.execute) !== 0, 'ex'),
    ...is(shared, 'sh'),
    ...MAP_FLAGS.flatMap(([bit, flag]) => is((flags & bit) !== 0, flag)),
    ...ADVICE_FLAGS.flatMap(([bit, flag]) => is((advice >> BigInt(bit)) % 2n === 1n, flag)),
    ...is((status & VMA_STATUS.shadowStack) !== 0, 'ss'),
  ];
}

function pageOf(message: MessageFields, field: string): number {
  const address = message.big(field);
  const page = Number(address / BigInt(PAGE_SIZE));
  if (address % BigInt(PAGE_SIZE) === 0n) return page;
  throw damaged(message, `${field} of a mapping is ${address}, which is no multiple of ${PAGE_SIZE}`);
}
