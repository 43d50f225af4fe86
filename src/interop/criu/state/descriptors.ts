import type { OpenFile, PipeContent } from '../../../target/index.ts';
import { damaged } from '../damage.ts';
import type { MessageFields } from '../images/messages.ts';
import type { FileRecord } from './file-record.ts';
import type { FileTable } from './file-table.ts';

const FD_CLOEXEC = 1;
/** Access mode in O_*: only reading, only writing, both (include/uapi/asm-generic/fcntl.h). */
const ACCESS_MODE = 3;
const WRITE_ONLY = 1;

/** Makes the open files of all processes; a pipe's content goes to the first descriptor that reads from it. */
export class Descriptors {
  readonly #files: FileTable;
  readonly #pipes: ReadonlyMap<number, PipeContent>;
  readonly #told = new Set<number>();

  constructor(files: FileTable, pipes: ReadonlyMap<number, PipeContent>) {
    this.#files = files;
    this.#pipes = pipes;
  }

  /**
   * The open files of one process, by descriptor.
   * @param entries of its image FDINFO
   * @throws IntegrityError
   */
  openFiles(entries: readonly MessageFields[]): OpenFile[] {
    const files = entries.map((entry) => this.#openFile(entry));
    files.sort((left, right) => left.descriptor - right.descriptor);
    for (const [index, { descriptor }] of files.entries()) {
      if (files[index + 1]?.descriptor === descriptor) {
        throw damaged(entries[0]!, `it has descriptor ${descriptor} twice`);
      }
    }
    return files;
  }

  #openFile(entry: MessageFields): OpenFile {
    const id = entry.number('id');
    const record = this.#files.get(id);
    if (record === undefined) throw damaged(entry, `files.img has no file ${id}`);
    return {
      descriptor: entry.number('fd'),
      path: record.path,
      kind: record.kind,
      deleted: record.deleted,
      flags: record.flags,
      closeOnExec: (entry.number('flags') & FD_CLOEXEC) !== 0,
      position: record.position,
      device: '0:0',
      inode: record.inode,
      sizeBytes: record.sizeBytes,
      description: id,
      details: record.details,
      pipe: this.#contentOf(record),
    };
  }

  #contentOf({ pipeId, flags }: FileRecord): PipeContent | null {
    if (pipeId === undefined || (flags & ACCESS_MODE) === WRITE_ONLY || this.#told.has(pipeId)) return null;
    const content = this.#pipes.get(pipeId);
    if (content === undefined) return null;
    this.#told.add(pipeId);
    return content;
  }
}
