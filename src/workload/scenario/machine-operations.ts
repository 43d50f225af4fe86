import { Buffer } from 'node:buffer';
import { ERRNO, type Kernel } from '../../kernel/index.ts';
import type { LineArguments } from './arguments.ts';
import type { ScenarioMachine } from './machine.ts';
import { filePath } from './mapping-operations.ts';
import { calling, type Operation, type OperationTable } from './operation.ts';

const PAGE_BYTES = 4096;
const FILE_PAGE_LIMIT = 2 ** 16;
const SWITCH = { '0': false, '1': true } as const;
const KSM_RUN = { '0': 0, '1': 1, '2': 2 } as const;
const THP_MODES = { always: 'always', madvise: 'madvise', never: 'never' } as const;
const SHARED_THP_MODES = {
  always: 'always',
  within_size: 'within_size',
  advise: 'advise',
  never: 'never',
  deny: 'deny',
  force: 'force',
} as const;
const MEMORY_NODES = 2 ** 20;
/** move_pages is asked for no more than this at a time. */
const MIGRATION_PAGES = 64;

/** Files and the knobs of the machine. */
export const MACHINE_OPERATIONS: OperationTable = {
  mkfile(words) {
    const path = filePath(words.word('the file'));
    const pages = words.exhausted ? 1 : words.integer('the number of pages', 0, FILE_PAGE_LIMIT);
    words.end();
    return calling((_, { kernel }) => {
      const result = kernel.createFile(path, pages, 'f'.charCodeAt(0));
      return result < 0 ? result : pages;
    });
  },
  fwrite: onFile(1, (kernel, path, [page]) =>
    kernel.writeFile(path, (page ?? 1) * PAGE_BYTES, Buffer.from('FW')),
  ),
  ftruncate: onFile(1, (kernel, path, [pages]) => kernel.truncateFile(path, pages ?? 1)),
  fpunch: onFile(2, (kernel, path, [page, count]) => kernel.punchFile(path, page ?? 1, count ?? 1)),
  // posix_fadvise returns its error instead of setting errno.
  fdrop: onFile(0, (kernel, path) => Math.abs(kernel.dropFile(path))),
  thp: setting('mode', THP_MODES, (kernel, mode) => kernel.setThp(mode)),
  shmemthp: setting('mode', SHARED_THP_MODES, (kernel, mode) => kernel.setSharedThp(mode)),
  thpzero: setting('switch', SWITCH, (kernel, on) => kernel.setThpZeroPage(on)),
  ksmrun: setting('state', KSM_RUN, (kernel, value) => kernel.setKsmRun(value)),
  ksmzero: setting('switch', SWITCH, (kernel, on) => kernel.setKsmZeroPages(on)),
  hugepages(words) {
    const count = words.integer('the number of pages', 0, FILE_PAGE_LIMIT);
    words.end();
    return ({ kernel }) => kernel.setHugePages(count);
  },
  swapoff: plain((machine) => printSwapResult(machine, machine.kernel.swapOff())),
  swapon: plain((machine) => printSwapResult(machine, machine.kernel.swapOn())),
  compact: plain(({ kernel }) => kernel.compact()),
  dropcaches: plain(({ kernel }) => kernel.dropCaches()),
  migrate(words) {
    const page = words.page();
    const count = Math.min(MIGRATION_PAGES, words.count());
    const node = words.exhausted ? 0 : words.integer('the node', -MEMORY_NODES, MEMORY_NODES);
    words.end();
    return calling((subject) => subject.process.migrate(subject.pageNumber(page), count, node));
  },
  faults: plain((machine, subject) => {
    const faults = subject.process.minorFaults();
    machine.result(faults - subject.countedFaults);
    subject.countedFaults = faults;
  }),
  note(words) {
    words.rest();
    return () => undefined;
  },
};

/** The recording interpreter looks at errno before it makes these calls, so a failure has no name. */
function printSwapResult(machine: ScenarioMachine, result: number): void {
  machine.print(`= ${result < 0 ? -1 : result}`);
}

function plain(operation: Operation): (words: LineArguments) => Operation {
  return (words) => {
    words.end();
    return operation;
  };
}

function setting<Value>(
  what: string,
  values: Readonly<Record<string, Value>>,
  set: (kernel: Kernel, value: Value) => void,
): (words: LineArguments) => Operation {
  return (words) => {
    const value = words.choice(what, values);
    words.end();
    return ({ kernel }) => set(kernel, value);
  };
}

/** Calls on a file by name with up to `numbers` page numbers; a name that does not open leaves a bad descriptor. */
function onFile(
  numbers: number,
  call: (kernel: Kernel, path: string, values: readonly number[]) => number,
): (words: LineArguments) => Operation {
  return (words) => {
    const path = filePath(words.word('the file'));
    const values: number[] = [];
    while (values.length < numbers && !words.exhausted) {
      values.push(words.integer('the page', 0, FILE_PAGE_LIMIT));
    }
    words.end();
    return calling((_, { kernel }) => {
      const result = call(kernel, path, values);
      return result === -ERRNO.ENOENT ? -ERRNO.EBADF : result;
    });
  };
}
