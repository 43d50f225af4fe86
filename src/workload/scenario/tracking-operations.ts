import { ERRNO, type RawScanArgument, UFFD_FEATURE, UFFD_REGISTER } from '../../kernel/index.ts';
import { SCAN_CATEGORY, SCAN_FLAG } from '../../procfs/index.ts';
import type { LineArguments } from './arguments.ts';
import { formatResult, processOf, type ScenarioMachine } from './machine.ts';
import { calling, type Operation, type OperationTable, type ProcessNames } from './operation.ts';
import { snapshot } from './snapshot.ts';
import { ARENA_START_PAGE, type Subject } from './subject.ts';

const PAGE_BYTES = 4096;
const PAGEMAP_WORD_BYTES = 8;
const PAGEMAP_READ_LIMIT = 2 ** 20;
/** Regions that the interpreter has room for. */
const SCAN_REGIONS = 64;
/** struct pm_scan_arg. */
const SCAN_ARGUMENT_BYTES = 96;
const CLEAR_TEXT_LENGTH = 120;

/** Pages that pmread can name beside those of the arena: the end of user space, and the page above it. */
const SPECIAL_PAGES: Readonly<Record<string, bigint>> = {
  taskend: 0x7ffffffff000n / 4096n,
  vsyscall: 0xffffffffff600000n / 4096n,
};

const CATEGORY_NAMES: Readonly<Record<string, number>> = {
  wpallowed: SCAN_CATEGORY.writeProtectAllowed,
  written: SCAN_CATEGORY.written,
  file: SCAN_CATEGORY.file,
  present: SCAN_CATEGORY.present,
  swapped: SCAN_CATEGORY.swapped,
  pfnzero: SCAN_CATEGORY.zeroFrame,
  huge: SCAN_CATEGORY.huge,
  softdirty: SCAN_CATEGORY.softDirty,
  guard: SCAN_CATEGORY.guard,
};

const UFFD_FEATURES: Readonly<Record<string, number>> = {
  wp: UFFD_FEATURE.pagefaultWriteProtect,
  remap: UFFD_FEATURE.eventRemap,
  wpshmem: UFFD_FEATURE.writeProtectHugeShared,
  unpop: UFFD_FEATURE.writeProtectUnpopulated,
  wpasync: UFFD_FEATURE.writeProtectAsync,
};

export const TRACKING_OPERATIONS: OperationTable = {
  clear: parseClear,
  snap: parseSnap,
  pmread: parsePagemapRead,
  scan: parseScan,
  uffd(words) {
    const features = words
      .rest()
      .reduce((all, word) => all | words.choice('feature', UFFD_FEATURES, word), 0);
    return calling((subject) => subject.openUserfaultfd(features));
  },
  uffdreg(words) {
    const page = words.page();
    const count = words.count();
    const modes = { wp: UFFD_REGISTER.writeProtect, missing: UFFD_REGISTER.missing };
    const mode = words
      .word('the mode')
      .split('+')
      .reduce((all, word) => all | words.choice('mode', modes, word), 0);
    words.end();
    return calling((subject) =>
      subject.withUserfaultfd((uffd) => uffd.register(subject.pageNumber(page), count, mode)),
    );
  },
  uffdunreg(words) {
    const page = words.page();
    const count = words.count();
    words.end();
    return calling((subject) =>
      subject.withUserfaultfd((uffd) => uffd.unregister(subject.pageNumber(page), count)),
    );
  },
  uffdwp(words) {
    const page = words.page();
    const count = words.count();
    const on = words.choice('switch', { on: true, off: false });
    words.end();
    return calling((subject) =>
      subject.withUserfaultfd((uffd) => uffd.writeProtect(subject.pageNumber(page), count, on)),
    );
  },
  uffdcopy: parseUffdCopy,
  uffdzero(words) {
    const page = words.page();
    const count = words.accessCount();
    words.end();
    return calling((subject) =>
      subject.withUserfaultfd((uffd) => uffd.zeroPage(subject.pageNumber(page), count)),
    );
  },
  uffdmove(words) {
    const source = words.page('the source');
    const destination = words.page('the destination');
    const count = words.accessCount();
    words.end();
    return calling((subject) =>
      subject.withUserfaultfd((uffd) =>
        uffd.move(subject.pageNumber(source), subject.pageNumber(destination), count),
      ),
    );
  },
  uffdclose(words) {
    words.end();
    return calling((subject) => {
      subject.closeUserfaultfd();
      return 0;
    });
  },
};

function parseUffdCopy(words: LineArguments): Operation {
  const page = words.page();
  const count = words.accessCount();
  const protect = words.exhausted ? false : words.choice('option', { wp: true });
  words.end();
  const content = new Uint8Array(PAGE_BYTES).fill('u'.charCodeAt(0));
  return calling((subject) => {
    const start = subject.pageNumber(page);
    for (let index = 0; index < count; index++) {
      const result = subject.withUserfaultfd((uffd) => uffd.copy(start + index, content, protect));
      if (result < 0) return result;
    }
    return count;
  });
}

/** A process by name, or any by number. */
function parseClear(words: LineArguments, names: ProcessNames): Operation {
  const target = words.optionalWord() ?? 'p0';
  const text = clearText(words);
  words.end();
  if (!names.exists(target) && !/^[0-9]{1,7}$/.test(target))
    words.fail(`no process ${JSON.stringify(target)}`);
  return (machine) => {
    const process = names.exists(target)
      ? processOf(machine, machine.subject(target))
      : machine.kernel.process(Number(target));
    machine.result(process === undefined ? -ERRNO.ENOENT : process.clearRefs(text));
  };
}

function clearText(words: LineArguments): string {
  const written = words.optionalWord() ?? '4';
  if (written === 'EMPTY') return '';
  return written.replaceAll('_', ' ').replaceAll('~', '\n').slice(0, CLEAR_TEXT_LENGTH);
}

function parseSnap(words: LineArguments, names: ProcessNames): Operation {
  const wanted = words.rest();
  const heap = wanted.at(-1) === 'heap';
  if (heap) wanted.pop();
  for (const name of wanted) if (!names.exists(name)) words.fail(`no process ${JSON.stringify(name)}`);
  if (heap && wanted.length === 0) words.fail('whose heap? name a process');
  return (machine) => {
    const subjects = wanted.length === 0 ? machine.subjects() : wanted.map((name) => machine.subject(name));
    for (const subject of subjects) snapshot(machine, subject, heap);
  };
}

function parsePagemapRead(words: LineArguments): Operation {
  const where = words.word('the page');
  const special = Object.hasOwn(SPECIAL_PAGES, where) ? SPECIAL_PAGES[where] : undefined;
  const page = special === undefined ? words.pageOf(where) : undefined;
  const skew = words.integer('the skew', -(2 ** 40), 2 ** 40);
  const length = words.integer('the length', 0, PAGEMAP_READ_LIMIT);
  words.end();
  return (machine, subject) => {
    const pagemap = processOf(machine, subject)?.openPagemap() ?? -ERRNO.ENOENT;
    if (typeof pagemap === 'number') {
      machine.print(`open ${formatResult(pagemap)}`);
      return;
    }
    const first = page === undefined ? (special ?? 0n) : BigInt(subject.pageNumber(page));
    machine.result(pagemap.read(first * BigInt(PAGEMAP_WORD_BYTES) + BigInt(skew), length));
  };
}

interface ScanOptions {
  mask: bigint;
  anyOf: bigint;
  inv: bigint;
  ret: bigint;
  max: number;
  veclen: number;
  flags: bigint;
  size: number;
  skew: number;
  endskew: number;
}

function parseScan(words: LineArguments): Operation {
  const page = words.page();
  const count = words.exhausted ? 1 : words.integer('the count', -(2 ** 28), 2 ** 28);
  const options = scanOptions(words);
  return (machine, subject) => {
    const start = BigInt(subject.pageNumber(page)) * BigInt(PAGE_BYTES);
    scan(machine, subject, {
      sizeBytes: options.size,
      flags: options.flags,
      startBytes: start + BigInt(options.skew),
      endBytes: start + BigInt(count) * BigInt(PAGE_BYTES) + BigInt(options.endskew),
      vectorLength: options.veclen,
      maximumPages: options.max,
      categoryInverted: options.inv,
      categoryMask: options.mask,
      categoryAnyOfMask: options.anyOf,
      returnMask: options.ret,
    });
  };
}

function scan(machine: ScenarioMachine, subject: Subject, argument: RawScanArgument): void {
  const pagemap = processOf(machine, subject)?.openPagemap() ?? -ERRNO.ENOENT;
  if (typeof pagemap === 'number') {
    machine.result(-ERRNO.EBADF);
    return;
  }
  const { result, regions, walkEndPage } = pagemap.ioctlScan(argument);
  machine.result(result);
  if (result < 0) return;
  for (const region of regions) {
    const first = region.startPage - ARENA_START_PAGE;
    const last = region.endPage - ARENA_START_PAGE - 1;
    machine.print(`${subject.name} scan ${first}-${last} ${categoryText(region.categories)}`);
  }
  machine.print(`${subject.name} walk_end ${walkEndPage - ARENA_START_PAGE}`);
}

function categoryText(categories: number): string {
  const names = Object.entries(CATEGORY_NAMES).filter(([, bit]) => (categories & bit) !== 0);
  return names.length === 0 ? '-' : names.map(([name]) => name).join('|');
}

function scanOptions(words: LineArguments): ScanOptions {
  const options: ScanOptions = {
    mask: 0n,
    anyOf: 0n,
    inv: 0n,
    ret: 0n,
    max: 0,
    veclen: SCAN_REGIONS,
    flags: 0n,
    size: SCAN_ARGUMENT_BYTES,
    skew: 0,
    endskew: 0,
  };
  for (const word of words.rest()) setScanOption(words, options, word);
  return options;
}

function setScanOption(words: LineArguments, options: ScanOptions, word: string): void {
  const key = word.slice(0, word.indexOf('=') + 1);
  const number = (from: number, to: number) => words.integerAfter(word, key, from, to);
  const named = (table: Readonly<Record<string, number>>) =>
    BigInt(
      word
        .slice(key.length)
        .split('|')
        .reduce((all, name) => all | words.choice('category or flag', table, name), 0),
    );
  const setters: Readonly<Record<string, () => void>> = {
    'mask=': () => (options.mask = named(CATEGORY_NAMES)),
    'any=': () => (options.anyOf = named(CATEGORY_NAMES)),
    'inv=': () => (options.inv = named(CATEGORY_NAMES)),
    'ret=': () => (options.ret = named(CATEGORY_NAMES)),
    'flags=': () =>
      (options.flags = named({ wp: SCAN_FLAG.writeProtectMatching, check: SCAN_FLAG.checkAsynchronous })),
    'rawflags=': () => (options.flags = BigInt(number(0, Number.MAX_SAFE_INTEGER))),
    'rawmask=': () => (options.mask = BigInt(number(0, Number.MAX_SAFE_INTEGER))),
    'max=': () => (options.max = number(0, 2 ** 32)),
    'veclen=': () => (options.veclen = number(0, SCAN_REGIONS)),
    'size=': () => (options.size = number(0, 2 ** 32)),
    'skew=': () => (options.skew = number(-(2 ** 40), 2 ** 40)),
    'endskew=': () => (options.endskew = number(-(2 ** 40), 2 ** 40)),
  };
  words.choice('option', setters, key === '' ? word : key)();
}
