import { Buffer } from 'node:buffer';
import { ERRNO, type Process } from '../../kernel/index.ts';
import type { LineArguments, PageName } from './arguments.ts';
import { processOf } from './machine.ts';
import { filePath } from './mapping-operations.ts';
import { calling, type Operation, type OperationTable } from './operation.ts';

const PAGE_BYTES = 4096;
const STORED_BYTE = 'w'.charCodeAt(0);
/** read(2) from the pipe stores here in each page. */
const PIPE_BYTE_OFFSET = 8;

export const ACCESS_OPERATIONS: OperationTable = {
  write(words) {
    const { page, count } = range(words);
    const value = words.exhausted ? STORED_BYTE : words.integer('the value', -128, 255);
    const byteOffset = words.exhausted ? 0 : words.integer('the byte offset', 0, 2 ** 30);
    words.end();
    const skipped = Math.floor(byteOffset / PAGE_BYTES);
    return ownAccess(page, count, (process, at) =>
      process.store(at + skipped, byteOffset % PAGE_BYTES, value & 255),
    );
  },
  fill(words) {
    const { page, count } = range(words);
    const value = words.exhausted ? STORED_BYTE : words.integer('the value', -128, 255);
    words.end();
    return ownAccess(page, count, (process, at) => process.fill(at, value & 255));
  },
  read(words) {
    const { page, count } = range(words);
    words.end();
    return calling((subject) => {
      const start = subject.pageNumber(page);
      let value = 0;
      for (let index = 0; index < count && value >= 0; index++) value = subject.process.load(start + index);
      return value;
    });
  },
  kwrite: (words) => eachPage(words, (process, page) => process.copyIn(page, PIPE_BYTE_OFFSET, bytes('k'))),
  kread: (words) => eachPage(words, (process, page) => process.copyOut(page, 0, Buffer.alloc(1))),
  selfmem: (words) => eachPage(words, (process, page) => process.memWrite(page, 0, bytes('s'))),
  procmem: (words) => fromOutside(words, (process, page) => process.memWrite(page, 0, bytes('m'))),
  procmemread: (words) => fromOutside(words, (process, page) => process.memRead(page, 0, Buffer.alloc(1))),
  vmwritev: (words) => byIovec(words, (process, page) => process.vmWrite(page, 0, bytes('v'))),
  vmreadv: (words) => byIovec(words, (process, page) => process.vmRead(page, 0, Buffer.alloc(1))),
  dread: (words) => fileRead(words, true),
  fread: (words) => fileRead(words, false),
  pin(words) {
    const { page, count } = range(words);
    words.end();
    return calling((subject) => subject.pin(subject.pageNumber(page), count));
  },
  unpin(words) {
    words.end();
    return calling((subject) => subject.unpin());
  },
};

function range(words: LineArguments): { page: PageName; count: number } {
  return { page: words.page(), count: words.accessCount() };
}

function bytes(text: string): Uint8Array {
  return Buffer.from(text, 'latin1');
}

type PageCall = (process: Process, page: number) => number;

/** Accesses of the program: the count of pages, or the signal that ended them. */
function ownAccess(page: PageName, count: number, access: PageCall): Operation {
  return calling((subject) => eachOf(subject.process, subject.pageNumber(page), count, access));
}

function eachOf(process: Process, start: number, count: number, call: PageCall): number {
  for (let index = 0; index < count; index++) {
    const result = call(process, start + index);
    if (result < 0) return result;
  }
  return count;
}

/** System calls of the subject, one a page. */
function eachPage(words: LineArguments, call: PageCall): Operation {
  const { page, count } = range(words);
  words.end();
  return ownAccess(page, count, call);
}

/** The controller through /proc/PID/mem: EBADF where that cannot be opened. */
function fromOutside(words: LineArguments, call: PageCall): Operation {
  const { page, count } = range(words);
  words.end();
  return calling((subject, machine) => {
    const process = processOf(machine, subject);
    // A file of /proc without an address space behind it: opening it fails like pagemap's opening does.
    if (process === undefined || typeof process.openPagemap() === 'number') return -ERRNO.EBADF;
    // A zombie's mem reads as an empty file: no bytes, no error, and the loop goes on.
    if (process.state === 'zombie') return count;
    return eachOf(process, subject.pageNumber(page), count, call);
  });
}

/** The controller through process_vm_readv and process_vm_writev. */
function byIovec(words: LineArguments, call: PageCall): Operation {
  const { page, count } = range(words);
  words.end();
  return calling((subject, machine) => {
    const process = processOf(machine, subject);
    if (process === undefined || process.state === 'zombie') return count === 0 ? 0 : -ERRNO.ESRCH;
    return eachOf(process, subject.pageNumber(page), count, call);
  });
}

function fileRead(words: LineArguments, direct: boolean): Operation {
  const { page, count } = range(words);
  const path = filePath(words.word('the file'));
  words.end();
  return calling((subject) => subject.process.readFileInto(subject.pageNumber(page), count, path, direct));
}
