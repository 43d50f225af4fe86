import { MADV, MAP, MCL, MREMAP, PROT } from '../../kernel/index.ts';
import type { LineArguments, PageName } from './arguments.ts';
import { calling, type Operation, type OperationTable } from './operation.ts';
import { TMPFS_FOLDER } from './snapshot.ts';
import { ARENA_START_PAGE, type Subject } from './subject.ts';

const ADVICE: Readonly<Record<string, number>> = {
  normal: MADV.normal,
  dontneed: MADV.dontNeed,
  free: MADV.free,
  remove: MADV.remove,
  cold: MADV.cold,
  pageout: MADV.pageOut,
  hugepage: MADV.hugePage,
  nohugepage: MADV.noHugePage,
  collapse: MADV.collapse,
  mergeable: MADV.mergeable,
  unmergeable: MADV.unmergeable,
  populate_read: MADV.populateRead,
  populate_write: MADV.populateWrite,
  willneed: MADV.willNeed,
  dontfork: MADV.dontFork,
  dofork: MADV.doFork,
  wipeonfork: MADV.wipeOnFork,
  keeponfork: MADV.keepOnFork,
  dontdump: MADV.dontDump,
  dodump: MADV.doDump,
  random: MADV.random,
  guard_install: MADV.guardInstall,
  guard_remove: MADV.guardRemove,
  dontneed_locked: MADV.dontNeedLocked,
};

const MMAP_FLAGS: Readonly<Record<string, number>> = {
  private: MAP.private,
  shared: MAP.shared,
  fixed: MAP.fixed,
  populate: MAP.populate,
  locked: MAP.locked,
  noreserve: MAP.noReserve,
  growsdown: MAP.growsDown,
};

const PROTECTIONS: Readonly<Record<string, number>> = {
  '-': PROT.none,
  r: PROT.read,
  w: PROT.write,
  x: PROT.execute,
};

const FILE_PAGE_LIMIT = 2 ** 28;

export const MAPPING_OPERATIONS: OperationTable = {
  mmap: parseMmap,
  munmap: overRange((subject, start, count) => subject.process.munmap(start, count)),
  mprotect(words) {
    const { page, count } = range(words);
    const protection = parseProtection(words);
    words.end();
    return calling((subject) => subject.process.mprotect(subject.pageNumber(page), count, protection));
  },
  mremap: parseMremap,
  madvise(words) {
    const { page, count } = range(words);
    const advice = words.choice('advice', ADVICE);
    words.end();
    if (advice === MADV.populateRead || advice === MADV.populateWrite) words.limitAccess(count);
    return calling((subject) => subject.process.madvise(subject.pageNumber(page), count, advice));
  },
  mlock(words) {
    const page = words.page();
    const count = words.accessCount();
    words.end();
    return calling((subject) => subject.process.mlock(subject.pageNumber(page), count));
  },
  munlock: overRange((subject, start, count) => subject.process.munlock(start, count)),
  mlockall(words) {
    const modes = { current: MCL.current, future: MCL.future };
    const flags = words.rest().reduce((all, word) => all | words.choice('mode', modes, word), 0);
    return calling((subject) => {
      const { process } = subject;
      if (flags === 0) {
        subject.locksFuture = false;
        return process.munlockall();
      }
      if (flags & MCL.current) {
        words.limitAccess(process.vmas().reduce((pages, vma) => pages + vma.endPage - vma.startPage, 0));
      }
      subject.locksFuture = (flags & MCL.future) !== 0;
      return process.mlockall(flags);
    });
  },
  msync: overRange((subject, start, count) => subject.process.msync(start, count)),
  brk(words) {
    const pages = words.integer('the number of pages', 0, FILE_PAGE_LIMIT);
    words.end();
    return calling((subject) => {
      if (subject.locksFuture) words.limitAccess(pages);
      const result = subject.process.brk(subject.heapPage + pages);
      return result < 0 ? result : pages;
    });
  },
  remapfile(words) {
    const { page, count } = range(words);
    const offset = words.exhausted ? 1 : words.integer('the offset', 0, FILE_PAGE_LIMIT);
    words.end();
    return calling((subject) => subject.process.remapFilePages(subject.pageNumber(page), count, offset));
  },
};

function range(words: LineArguments): { page: PageName; count: number } {
  return { page: words.page(), count: words.count() };
}

function overRange(call: (subject: Subject, startPage: number, pageCount: number) => number) {
  return (words: LineArguments): Operation => {
    const { page, count } = range(words);
    words.end();
    return calling((subject) => call(subject, subject.pageNumber(page), count));
  };
}

function parseProtection(words: LineArguments): number {
  const letters = words.word('the protection');
  return [...letters].reduce((all, letter) => all | words.choice('protection', PROTECTIONS, letter), 0);
}

/** The full path of a file as a scenario names it. */
export function filePath(name: string): string {
  return name.startsWith('/') ? name : `${TMPFS_FOLDER}${name}`;
}

function parseMmap(words: LineArguments): Operation {
  const { page, count } = range(words);
  const protection = parseProtection(words);
  const kind = words.word('the kind');
  const isFile = kind !== 'anon' && kind !== 'hugetlb';
  let flags = isFile ? 0 : MAP.anonymous;
  if (kind === 'hugetlb') flags |= MAP.hugeTlb;
  let offset = 0;
  let readOnly = false;
  let separate = false;
  for (const option of words.rest()) {
    if (option.startsWith('off=')) offset = words.integerAfter(option, 'off=', 0, FILE_PAGE_LIMIT);
    else if (option === 'rdonlyfd') readOnly = true;
    else if (option === 'newfd') separate = true;
    else flags |= words.choice('option', MMAP_FLAGS, option);
  }
  if ((flags & (MAP.private | MAP.shared)) === 0) words.fail('either private or shared is needed');
  if (flags & (MAP.populate | MAP.locked)) words.limitAccess(count);
  if ((flags & MAP.fixed) === 0) flags |= MAP.fixedNoReplace;
  return calling((subject) => {
    const start = subject.pageNumber(page);
    if (subject.locksFuture) words.limitAccess(count);
    if (!isFile) return arenaPage(subject.process.mmap(start, count, protection, flags, undefined, offset));
    const file = subject.openFile(filePath(kind), readOnly, separate);
    if (typeof file === 'number') return file;
    return arenaPage(subject.process.mmap(start, count, protection, flags, file, offset));
  });
}

function parseMremap(words: LineArguments): Operation {
  const page = words.page();
  const oldCount = words.accessCount();
  const newCount = words.accessCount();
  let flags = 0;
  let target: PageName = { heap: false, index: 0 };
  for (const option of words.rest()) {
    if (option.startsWith('to=')) {
      flags |= MREMAP.fixed | MREMAP.mayMove;
      target = words.pageOf(option.slice('to='.length));
    } else {
      const options = { maymove: MREMAP.mayMove, dontunmap: MREMAP.dontUnmap | MREMAP.mayMove };
      flags |= words.choice('option', options, option);
    }
  }
  return calling((subject) => {
    const start = subject.pageNumber(page);
    const to = subject.pageNumber(target);
    return arenaPage(subject.process.mremap(start, oldCount, newCount, flags, to));
  });
}

/** The recordings count from the arena in unsigned arithmetic: what lies below it wraps. */
function arenaPage(result: number): number {
  if (result < 0) return result;
  return result >= ARENA_START_PAGE ? result - ARENA_START_PAGE : 2 ** 52 + result - ARENA_START_PAGE;
}
