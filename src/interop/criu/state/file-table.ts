import type { OpenFileKind } from '../../../target/index.ts';
import { damaged } from '../damage.ts';
import type { MessageFields } from '../images/messages.ts';
import type { DumpImages } from './dump-images.ts';
import { type FileRecord, PLAIN_FILE } from './file-record.ts';
import { decimal } from './numbers.ts';
import { describeSocket } from './sockets.ts';
import { describeSpecial } from './special-files.ts';
import type { Terminals } from './terminals.ts';

const DELETED = ' (deleted)';
/** Kinds of files, the upper four bits of `mode` (include/uapi/linux/stat.h, S_IF*). */
const MODE_KINDS: Readonly<Record<number, OpenFileKind>> = {
  1: 'fifo',
  2: 'device',
  4: 'directory',
  6: 'device',
  8: 'file',
  12: 'socket',
};
const PERMISSION_BITS = 12;

/** The open files of a dump, mapped files and directories included, by their ids. */
export class FileTable {
  readonly #records: ReadonlyMap<number, FileRecord>;

  private constructor(records: ReadonlyMap<number, FileRecord>) {
    this.#records = records;
  }

  /** @throws IntegrityError */
  static async read(images: DumpImages, terminals: Terminals): Promise<FileTable> {
    const entries = await images.entries('files', 'FILES');
    const reader = new FileReader(
      new Set((await images.entries('remap-fpath', 'REMAP_FPATH')).map((entry) => entry.number('orig_id'))),
      new Map(
        (await images.entries('memfd', 'MEMFD_INODE')).map((entry) => [entry.number('inode_id'), entry]),
      ),
      terminals,
    );
    for (const entry of entries) reader.add(entry);
    return new FileTable(new Map(entries.map((entry) => [entry.number('id'), reader.record(entry)])));
  }

  get(id: number): FileRecord | undefined {
    return this.#records.get(id);
  }

  /** Those that are objects of shared memory. */
  memfds(): (FileRecord & { readonly objectId: string })[] {
    return [...this.#records.values()].flatMap((file) =>
      file.objectId === undefined ? [] : [{ ...file, objectId: file.objectId }],
    );
  }

  /** The path of a regular file; undefined if there is no such file. */
  path(id: number): string | undefined {
    return this.#records.get(id)?.path;
  }
}

/** Makes records of entries; FIFOs and terminals name other entries. */
class FileReader {
  readonly #gone: ReadonlySet<number>;
  readonly #memfds: ReadonlyMap<number, MessageFields>;
  readonly #terminals: Terminals;
  readonly #regular = new Map<number, MessageFields>();

  constructor(gone: ReadonlySet<number>, memfds: ReadonlyMap<number, MessageFields>, terminals: Terminals) {
    this.#gone = gone;
    this.#memfds = memfds;
    this.#terminals = terminals;
  }

  add(entry: MessageFields): void {
    const regular = entry.message('reg');
    if (regular !== undefined) this.#regular.set(entry.number('id'), regular);
  }

  record(entry: MessageFields): FileRecord {
    const id = entry.number('id');
    const type = entry.optionalLabel('type') ?? '';
    const [field, read] = READERS[type] ?? [undefined, undefined];
    const message = field === undefined ? undefined : entry.message(field);
    if (read === undefined || message === undefined) return unknownFile(type);
    return read(this, message, id);
  }

  regular(file: MessageFields, id: number): FileRecord {
    const deleted = this.#gone.has(id);
    const path = absolutePath(file.text('name'));
    return {
      ...PLAIN_FILE,
      path: deleted ? path + DELETED : path,
      kind: regularKind(file, path),
      deleted,
      flags: file.number('flags'),
      position: decimal(file.big('pos')),
      sizeBytes: Number(file.optionalBig('size') ?? 0n),
      ...buildIdOf(file),
    };
  }

  fifo(fifo: MessageFields): FileRecord {
    const pipeId = fifo.number('pipe_id');
    const file = this.#regularOf(fifo);
    return {
      ...PLAIN_FILE,
      path: file === undefined ? `fifo:[${pipeId}]` : absolutePath(file.text('name')),
      kind: 'fifo',
      flags: file?.number('flags') ?? 0,
      inode: String(pipeId),
      pipeId,
    };
  }

  terminal(file: MessageFields): FileRecord {
    const regular = this.#regularOf(file);
    const path = regular === undefined ? undefined : absolutePath(regular.text('name'));
    return {
      ...PLAIN_FILE,
      path: path ?? this.#terminals.path(file.number('tty_info_id')) ?? 'terminal',
      kind: 'terminal',
      flags: file.number('flags'),
    };
  }

  memfd(file: MessageFields): FileRecord {
    const inode = this.#memfds.get(file.number('inode_id'));
    if (inode === undefined) throw damaged(file, `memfd.img has no memfd ${file.number('inode_id')}`);
    return {
      ...PLAIN_FILE,
      path: memoryPath(inode.text('name')) + DELETED,
      kind: 'memfd',
      deleted: true,
      flags: file.number('flags'),
      position: decimal(file.big('pos')),
      sizeBytes: Number(inode.big('size')),
      objectId: String(inode.number('shmid')),
    };
  }

  #regularOf(file: MessageFields): MessageFields | undefined {
    const id = file.optionalNumber('regf_id');
    return id === undefined ? undefined : this.#regular.get(id);
  }
}

type Reader = (reader: FileReader, message: MessageFields, id: number) => FileRecord;

/** By type (images/fdinfo.proto, fd_types): the field that has the entry, and who reads it. */
const READERS: Readonly<Record<string, readonly [field: string, read: Reader]>> = {
  REG: ['reg', (reader, file, id) => reader.regular(file, id)],
  PIPE: ['pipe', (_reader, file) => pipeRecord(file)],
  FIFO: ['fifo', (reader, file) => reader.fifo(file)],
  TTY: ['tty', (reader, file) => reader.terminal(file)],
  MEMFD: ['memfd', (reader, file) => reader.memfd(file)],
  INETSK: ['isk', (_reader, file) => describeSocket('isk', file)],
  UNIXSK: ['usk', (_reader, file) => describeSocket('usk', file)],
  PACKETSK: ['psk', (_reader, file) => describeSocket('psk', file)],
  NETLINKSK: ['nlsk', (_reader, file) => describeSocket('nlsk', file)],
  EVENTFD: ['efd', (_reader, file) => describeSpecial('efd', file)],
  EVENTPOLL: ['epfd', (_reader, file) => describeSpecial('epfd', file)],
  INOTIFY: ['ify', (_reader, file) => describeSpecial('ify', file)],
  FANOTIFY: ['ffy', (_reader, file) => describeSpecial('ffy', file)],
  SIGNALFD: ['sgfd', (_reader, file) => describeSpecial('sgfd', file)],
  TIMERFD: ['tfd', (_reader, file) => describeSpecial('tfd', file)],
  NS: ['nsf', (_reader, file) => describeSpecial('nsf', file)],
  TUNF: ['tunf', (_reader, file) => describeSpecial('tunf', file)],
  BPFMAP: ['bpf', (_reader, file) => describeSpecial('bpf', file)],
  PIDFD: ['pidfd', (_reader, file) => describeSpecial('pidfd', file)],
};

function pipeRecord(pipe: MessageFields): FileRecord {
  const pipeId = pipe.number('pipe_id');
  return {
    ...PLAIN_FILE,
    path: `pipe:[${pipeId}]`,
    kind: 'pipe',
    flags: pipe.number('flags'),
    inode: String(pipeId),
    pipeId,
  };
}

/** Such as EXT: a file that a plugin or the caller of CRIU takes care of. */
function unknownFile(type: string): FileRecord {
  return { ...PLAIN_FILE, path: type === 'EXT' ? 'external' : `CRIU type ${type}`, kind: 'other' };
}

function regularKind(file: MessageFields, path: string): OpenFileKind {
  if (path === '/dev/null') return 'null';
  // Old images do not have it.
  const mode = file.optionalNumber('mode');
  return mode === undefined ? 'file' : (MODE_KINDS[mode >>> PERMISSION_BITS] ?? 'other');
}

/** CRIU has it in words, the lowest byte first (criu/files-reg.c, store_validation_data_build_id). */
function buildIdOf(file: MessageFields): { readonly buildId?: string } {
  const words = file.bigs('build_id');
  const bytes = new Uint8Array(words.length * 4);
  const view = new DataView(bytes.buffer);
  for (const [index, word] of words.entries()) view.setUint32(index * 4, Number(word), true);
  return words.length === 0 ? {} : { buildId: Buffer.from(bytes).toString('hex') };
}

/** What CRIU takes for a memfd may be shared anonymous memory, whose name is that of a file. */
function memoryPath(name: string): string {
  return name.startsWith('/') ? name : `/memfd:${name}`;
}

/** CRIU writes paths from the root of the task's mounts, with a dot or nothing in front of some. */
function absolutePath(name: string): string {
  const path = name.startsWith('./') ? name.slice(1) : name;
  return path.startsWith('/') ? path : `/${path}`;
}
