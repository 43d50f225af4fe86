import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ScenarioError } from '../../src/core/index.ts';
import { runScenario } from '../../src/workload/index.ts';

function problem(text: string): string {
  try {
    runScenario(text, { name: 'x.sd' });
  } catch (error) {
    if (error instanceof ScenarioError) return error.message;
    throw error;
  }
  return '';
}

describe('a scenario that is none', () => {
  it.each([
    ['mmap 0 1 rw anon private\nfrobnicate 3', 'x.sd:2: frobnicate: unknown operation'],
    ['constructor 1', 'x.sd:1: constructor: unknown operation'],
    ['# fine\n\nwrite', 'x.sd:3: write: the page is missing'],
    ['write five', 'x.sd:1: write: "five" is no number'],
    ['write 08', 'x.sd:1: write: "08" is no octal number'],
    ['write -1', 'x.sd:1: write: -1 is not between 0 and 268435456'],
    ['read 0 1 1', 'x.sd:1: read: does not know what "1" is for'],
    ['read 0 999999999', 'x.sd:1: read: 999999999 is not between 0 and 1048576'],
    ['mmap 0 1 rwq anon private', 'x.sd:1: mmap: unknown protection "q"'],
    ['mmap 0 1 rw anon', 'x.sd:1: mmap: either private or shared is needed'],
    ['mmap 0 1 rw anon private sticky', 'x.sd:1: mmap: unknown option "sticky"'],
    ['madvise 0 1 nicely', 'x.sd:1: madvise: unknown advice "nicely"'],
    ['madvise 0 1 toString', 'x.sd:1: madvise: unknown advice "toString"'],
    ['p1: read 0', 'x.sd:1: no process "p1"'],
    ['p0:', 'x.sd:1: no operation after p0:'],
    ['fork p0', 'x.sd:1: fork: there is a process p0 already'],
    ['fork a\nfork b\nfork c\nfork d\nfork e\nfork f', 'x.sd:6: fork: there are 6 processes already'],
    ['fork p1\np1: exit\np1: read 0', 'x.sd:3: process p1 has exited'],
    ['fork p1\nexit\np1: read 0', 'x.sd:3: process p1 has exited'],
    ['clear p7', 'x.sd:1: clear: no process "p7"'],
    ['snap p0 p1', 'x.sd:1: snap: no process "p1"'],
    ['snap heap', 'x.sd:1: snap: whose heap? name a process'],
    ['scan 0 4 ret=pressent', 'x.sd:1: scan: unknown category or flag "pressent"'],
    ['scan 0 4 colour=blue', 'x.sd:1: scan: unknown option "colour="'],
    ['thp sometimes', 'x.sd:1: thp: unknown mode "sometimes"'],
    ['uffdreg 0 1 rw', 'x.sd:1: uffdreg: unknown mode "rw"'],
    [`write ${'0'.repeat(600)}`, 'x.sd:1: line too long'],
    ['write\u00a00', 'x.sd:1: characters beyond ASCII in an operation'],
  ])('is refused with its place: %j', (text, message) => {
    expect(problem(text)).toBe(message);
  });

  it('is refused as a whole: nothing has run when its last line turns out wrong', () => {
    expect(problem('mmap 0 200000 rw anon private\nwrite 0 200000\nnonsense')).toBe(
      'x.sd:3: nonsense: unknown operation',
    );
  });

  it.each([
    ['mmap 0 2000000 rw anon private populate', 'touches 2000000 pages, more than the 1048576 of the arena'],
    ['mmap 0 9000000 r anon private\nmlockall current', 'pages, more than the 1048576 of the arena'],
    ['mlockall future\nmmap 0 9000000 r anon private', 'touches 9000000 pages'],
    ['mlockall future\nbrk 9000000', 'touches 9000000 pages'],
    ['mmap 0 300000 rw anon private\nfill 0 300000 1', 'fill 0 300000 1: would use up all memory'],
    ['mmap 0 300000 rw anon private\nmlock 0 300000', 'mlock 0 300000: would use up all memory'],
  ])('would need more memory than there was: %j', (text, message) => {
    expect(problem(text)).toContain(message);
  });

  it('would wait for a userfaultfd that nobody serves', () => {
    const text = 'mmap 0 2 rw anon private\nuffd\nuffdreg 0 2 missing\nread 1\n';
    expect(problem(text)).toBe('x.sd:4: read 1: would wait for ever');
  });
});

describe('what a program may do wrong', () => {
  it('is printed, as on the real kernel', () => {
    const text = 'write 0\nmunmap 0 0\nmmap 0 1 rw nofile shared\nuffdwp 0 1 on\nunpin\nclear 4194303\n';
    expect(runScenario(text).match(/^= .*$/gm)).toEqual([
      '= -SEGV',
      '= -EINVAL',
      '= -ENOENT',
      '= -EBADF',
      '= -EBADF',
      '= -ENOENT',
    ]);
  });

  it('leaves comments, blank lines and notes without effect', () => {
    expect(runScenario('# a\n\n   \n note what follows # not this\n\tsnap p0\t\n')).toBe(
      '>  note what follows\n> \tsnap p0\np0 empty\n',
    );
  });
});

const WORDS = [
  'mmap munmap write read mprotect madvise mremap brk fork exit exec mlock munlock mlockall msync kwrite kread',
  'selfmem procmem procmemread vmwritev vmreadv dread fread pin unpin mkfile fwrite ftruncate fpunch fdrop clear',
  'snap pmread scan uffd uffdreg uffdunreg uffdwp uffdcopy uffdzero uffdmove uffdclose thp shmemthp thpzero',
  'hugepages ksmrun ksmzero swapoff swapon migrate compact dropcaches faults remapfile note fill',
  'p0 p1 p0: p1: rw r - x anon hugetlb f1 /mnt/f1 private shared fixed populate locked growsdown off=3 newfd',
  'to=9 to=600 maymove dontunmap dontneed free pageout hugepage collapse mergeable populate_write wipeonfork',
  'guard_install on off wp missing wpasync unpop always never heap H0 H3 taskend EMPTY 4 mask=present flags=wp',
]
  .join(' ')
  .split(' ');

describe('hostile text', () => {
  const number = fc.oneof(
    fc.integer({ min: -2, max: 40 }),
    fc.constantFrom(512, 1024, 4096, 65536, 1048576, 268435456, 2 ** 40),
  );
  const word = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...WORDS) },
    { weight: 4, arbitrary: number.map(String) },
    { weight: 1, arbitrary: fc.string({ maxLength: 6 }) },
  );
  const line = fc.array(word, { minLength: 1, maxLength: 8 }).map((words) => words.join(' '));

  it('ends in a ScenarioError or in output, never in another error', () => {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 4 }), (lines) => {
        problem(lines.join('\n'));
      }),
      { numRuns: 2000 },
    );
  });

  const call = fc.oneof(
    fc.tuple(
      fc.constantFrom('munmap', 'write', 'read', 'mlock', 'munlock', 'kwrite', 'procmem', 'vmreadv', 'pin'),
      fc.integer({ min: 0, max: 24 }),
      fc.integer({ min: 0, max: 12 }),
    ),
    fc.tuple(
      fc.constantFrom('madvise'),
      fc.integer({ min: 0, max: 24 }),
      fc.integer({ min: 0, max: 12 }),
      fc.constantFrom('dontneed', 'free', 'pageout', 'mergeable', 'collapse', 'wipeonfork', 'populate_read'),
    ),
    fc.tuple(
      fc.constantFrom('mmap'),
      fc.integer({ min: 0, max: 24 }),
      fc.integer({ min: 0, max: 12 }),
      fc.constantFrom('rw', 'r', '-', 'x'),
      fc.constantFrom('anon', 'f1'),
      fc.constantFrom('private', 'shared', 'private fixed', 'shared fixed', 'private growsdown'),
    ),
    fc.tuple(
      fc.constantFrom('mremap'),
      fc.integer({ min: 0, max: 24 }),
      fc.integer({ min: 0, max: 12 }),
      fc.integer({ min: 0, max: 12 }),
      fc.constantFrom('', 'maymove', 'to=5', 'to=30', 'dontunmap to=40'),
    ),
    fc.constantFrom(['clear p0'], ['snap'], ['unpin'], ['swapoff'], ['swapon'], ['ksmrun 1'], ['exec']),
  );

  it('of valid operations in any order always runs', () => {
    fc.assert(
      fc.property(fc.array(call, { maxLength: 30 }), (calls) => {
        const lines = calls.map((words) => words.join(' ').trim());
        expect(problem(['mkfile f1 8', ...lines, 'snap'].join('\n'))).toBe('');
      }),
      { numRuns: 300 },
    );
  });
});
