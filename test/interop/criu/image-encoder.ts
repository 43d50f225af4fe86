import { nested, number, numbers, repeated, signed, text } from './protobuf.ts';

/** Whose pagemaps: `both` is what every version reads. */
export type ImageVersion = '3.17' | '4.2' | 'both';

export const word = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

/** An entry with its length in front. */
export const entry = (...fields: Uint8Array[]): Buffer => {
  const message = Buffer.concat(fields);
  return Buffer.concat([word(message.length), message]);
};

export const image = (magic: number, ...entries: Uint8Array[]): Buffer =>
  Buffer.concat([word(0x54564319), word(magic), ...entries]);

export interface EncodedEntry {
  readonly startPage: number;
  readonly pageCount: number;
  /** 1 parent, 2 lazy, 4 present. */
  readonly flags: number;
}

const pagemapEntry = (version: ImageVersion, { startPage, pageCount, flags }: EncodedEntry): Buffer =>
  entry(
    number(1, BigInt(startPage) * 4096n),
    number(2, version === '4.2' ? 0 : pageCount),
    number(4, flags),
    ...(version === '3.17' ? [] : [number(5, pageCount)]),
  );

export const pagemapImage = (
  version: ImageVersion,
  pagesId: number,
  entries: readonly EncodedEntry[],
): Buffer =>
  image(0x56084025, entry(number(1, pagesId)), ...entries.map((one) => pagemapEntry(version, one)));

/** @param uptime microseconds; only with memory tracking */
export const inventoryImage = (
  version: ImageVersion,
  { preDumpMode, uptime }: { readonly preDumpMode?: number; readonly uptime?: number },
): Buffer =>
  Buffer.concat([
    word(0x58313116),
    entry(
      number(1, preDumpMode === undefined ? 2 : 0),
      ...(preDumpMode === undefined ? [number(2, 1), number(4, 1), number(6, 0)] : []),
      ...(uptime === undefined ? [] : [number(8, uptime)]),
      ...(preDumpMode === undefined ? [] : [number(9, preDumpMode)]),
      ...(version === '4.2' ? [nested(12)] : []),
    ),
  ]);

export interface EncodedTask {
  readonly pid: number;
  readonly parentPid: number;
  readonly threads: readonly number[];
}

export const pstreeImage = (tasks: readonly EncodedTask[]): Buffer =>
  image(
    0x50273030,
    ...tasks.map(({ pid, parentPid, threads }) =>
      entry(
        number(1, pid),
        number(2, parentPid),
        number(3, pid),
        number(4, tasks[0]!.pid),
        repeated(5, threads),
      ),
    ),
  );

/** Registers whose values follow from the thread: rip 0x1000 + tid and so on. */
export const registersOf = (tid: number): bigint[] =>
  Array.from({ length: 27 }, (_, index) => BigInt((index + 1) * 0x1000 + tid));

const threadInfo = (tid: number): Buffer =>
  Buffer.concat([
    number(1, 0x7000_0000 + tid),
    nested(2, numbers(...registersOf(tid)), number(28, 1)),
    nested(
      3,
      numbers(0x37f, 0, 0, 0, 0, 0, 0x1f80, 0xffff),
      repeated(
        9,
        Array.from({ length: 32 }, (_, index) => index),
      ),
      repeated(
        10,
        Array.from({ length: 64 }, (_, index) => index * 3),
      ),
    ),
  ]);

const credentials = Buffer.concat([
  numbers(1000, 100, 1000, 100, 1000, 100, 1000, 100),
  repeated(9, [0, 0]),
  repeated(10, [0, 0]),
  repeated(11, [0, 0]),
  repeated(12, [0xffffffff, 0x1ff]),
  number(13, 0),
  repeated(14, [100]),
]);

const noTimer = numbers(0, 0, 0, 0);

/** @param state 1 alive, 3 stopped, 6 zombie; the leader's alone has what belongs to the process */
export const coreImage = (tid: number, name: string, leader: { readonly state: number } | undefined) =>
  image(
    0x55053847,
    entry(
      number(1, 1),
      nested(2, threadInfo(tid)),
      ...(leader === undefined
        ? []
        : [
            nested(
              3,
              numbers(leader.state, 0, 0, 0x400000, 0),
              text(6, name),
              nested(7, nested(1, noTimer), nested(2, noTimer), nested(3, noTimer)),
              nested(8, ...Array.from({ length: 16 }, () => nested(1, numbers(1024, 4096)))),
              number(9, 1),
            ),
            nested(4, numbers(tid, tid, tid, tid)),
          ]),
      nested(
        5,
        number(1, 0x7100_0000),
        number(2, 24),
        signed(3, 0),
        number(4, 0),
        number(5, 0),
        number(6, 0),
        nested(10, credentials),
        text(13, name),
      ),
    ),
  );

/** Bits of a mapping's status (criu/include/image.h). */
export const VMA_STATUS = {
  regular: 1 << 0,
  stack: 1 << 1,
  vsyscall: 1 << 2,
  vdso: 1 << 3,
  heap: 1 << 5,
  filePrivate: 1 << 6,
  fileShared: 1 << 7,
  anonymousShared: 1 << 8,
  anonymousPrivate: 1 << 9,
  systemV: 1 << 10,
  vvar: 1 << 12,
  memfd: 1 << 14,
} as const;

export interface EncodedVma {
  readonly startPage: number;
  readonly endPage: number;
  readonly status: number;
  /** Bits of PROT_*; 3 (read, write) unless given. */
  readonly prot?: number;
  /** Bits of MAP_*; private or shared and anonymous, by the status, unless given. */
  readonly flags?: number;
  /** In the file or object. */
  readonly offsetPages?: number;
  /** Of an object of shared memory, or a file's id. */
  readonly shmid?: bigint | number;
}

const vma = (one: EncodedVma): Buffer => {
  const shared = VMA_STATUS.fileShared | VMA_STATUS.anonymousShared | VMA_STATUS.systemV;
  const isShared = (one.status & shared) !== 0;
  const isFile = (one.status & (VMA_STATUS.filePrivate | VMA_STATUS.fileShared)) !== 0;
  return Buffer.concat([
    number(1, BigInt(one.startPage) * 4096n),
    number(2, BigInt(one.endPage) * 4096n),
    number(3, BigInt(one.offsetPages ?? 0) * 4096n),
    number(4, one.shmid ?? 0),
    number(5, one.prot ?? 3),
    number(6, one.flags ?? (isShared ? 1 : 2) | (isFile ? 0 : 0x20)),
    number(7, one.status),
    signed(8, -1),
  ]);
};

export const mmImage = (vmas: readonly EncodedVma[], executable = 1): Buffer => {
  const first = BigInt(vmas[0]?.startPage ?? 1) * 4096n;
  const auxv = [6n, 4096n, 9n, first + 0x40n, 0n, 0n];
  return image(
    0x57492820,
    entry(
      numbers(
        first,
        first + 0x1000n,
        first,
        first + 8n,
        first,
        first,
        first,
        first,
        first + 4n,
        first + 4n,
        first + 8n,
        executable,
      ),
      repeated(13, auxv),
      ...vmas.map((one) => nested(14, vma(one))),
      number(15, 1),
    ),
  );
};

const noOwner = nested(5, numbers(0, 0, 0, 0, 0));

/** A file_entry of a regular file. */
export const regularFile = (id: number, name: string): Buffer =>
  entry(
    number(1, 1),
    number(2, id),
    nested(3, number(1, id), number(2, 0), number(3, 0), noOwner, text(6, name), signed(7, -1)),
  );

/** A file_entry of memory without a name in the file system. */
export const memfdFile = (id: number, inode: number): Buffer =>
  entry(
    number(1, 18),
    number(2, id),
    nested(
      20,
      number(1, id),
      number(2, 2),
      number(3, 0),
      nested(4, numbers(0, 0, 0, 0, 0)),
      number(5, inode),
    ),
  );

export const filesImage = (...files: Buffer[]): Buffer => image(0x56303138, ...files);

/** @param pages size of the object */
export const memfdImage = (
  ...objects: {
    readonly name: string;
    readonly inode: number;
    readonly shmid: number;
    readonly pages: number;
  }[]
): Buffer =>
  image(
    0x48453499,
    ...objects.map(({ name, inode, shmid, pages }) =>
      entry(
        text(1, name),
        number(2, 0),
        number(3, 0),
        number(4, pages * 4096),
        number(5, shmid),
        number(6, 0),
        number(7, inode),
      ),
    ),
  );

export const idsImage = (id: number): Buffer => image(0x54432030, entry(numbers(id, id, id, id)));
export const fsImage = (): Buffer => image(0x51403912, entry(numbers(1, 1, 0o22)));
export const fdinfoImage = (...descriptors: { readonly id: number; readonly fd: number }[]): Buffer =>
  image(0x56213732, ...descriptors.map(({ id, fd }) => entry(numbers(id, 0, 1, fd))));
