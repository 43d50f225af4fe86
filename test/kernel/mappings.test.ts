import { describe, expect, it } from 'vitest';
import { ERRNO, MADV, MAP, MREMAP, PROT } from '../../src/kernel/index.ts';
import {
  ARENA,
  layout,
  mapPrivate,
  mapShared,
  opened,
  READ,
  read,
  start,
  WRITABLE,
  word,
  words,
  write,
} from './helpers.ts';

describe('mappings and VM_SOFTDIRTY', () => {
  it('join a new mapping to a clean neighbour, and all of it is soft-dirty', () => {
    const { process } = start();
    mapPrivate(process, 0, 4);
    write(process, 0, 4);
    process.clearRefs('4');
    expect(layout(process)).toBe('0-3');
    mapPrivate(process, 4, 4);
    expect(layout(process)).toBe('0-7 sd');
    expect(words(process, 0, 5)).toBe('PXD PXD PXD PXD D');
  });

  it('are split by munmap and keep their flag', () => {
    const { process } = start();
    mapPrivate(process, 0, 9);
    process.clearRefs('4');
    expect(process.munmap(ARENA + 3, 3)).toBe(0);
    expect(layout(process)).toBe('0-2, 6-8');
    expect(word(process, 4)).toBe('-');
  });

  it('prefer the upper neighbour up to 6.11 and the lower one later', () => {
    const build = (version: '6.1' | '6.12') => {
      const { process } = start({ version });
      mapPrivate(process, 0, 4);
      mapPrivate(process, 8, 4);
      write(process, 8);
      process.clearRefs('4');
      mapPrivate(process, 4, 4);
      return layout(process);
    };
    expect(build('6.1')).toBe('0-3, 4-11 sd');
    expect(build('6.12')).toBe('0-11 sd');
  });

  it('lose the flag in a merge by mremap before it became sticky', () => {
    const build = (version: '6.1' | '7.2') => {
      const { process } = start({ version });
      mapPrivate(process, 4, 4);
      process.clearRefs('4');
      mapPrivate(process, 100, 4);
      process.mremap(ARENA + 100, 4, 4, MREMAP.mayMove | MREMAP.fixed, ARENA);
      return layout(process);
    };
    expect(build('6.1')).toBe('0-7');
    expect(build('7.2')).toBe('0-7 sd');
  });

  it('do not merge if the identities differ or a fork child is involved', () => {
    const { process } = start();
    mapPrivate(process, 0, 2);
    write(process, 0);
    const child = process.fork();
    child.clearRefs('4');
    mapPrivate(child, 2, 2);
    expect(layout(child)).toBe('0-1, 2-3 sd');
  });

  it('refuse to overlap with MAP_FIXED_NOREPLACE, and place themselves without a hint', () => {
    const { process } = start();
    mapPrivate(process, 0, 2);
    const flags = MAP.private | MAP.anonymous;
    expect(process.mmap(ARENA + 1, 1, WRITABLE, flags | MAP.fixedNoReplace)).toBe(-ERRNO.EEXIST);
    const first = process.mmap(0, 3, WRITABLE, flags);
    const second = process.mmap(0, 3, WRITABLE, flags);
    expect(second).toBe(first - 3);
    expect(process.mmap(ARENA + 1, 0, WRITABLE, flags)).toBe(-ERRNO.EINVAL);
  });

  it('grow the heap and flag all of it', () => {
    const { process } = start();
    const heap = process.breakPage;
    expect(process.brk(heap + 4)).toBe(0);
    process.store(heap, 0, 1);
    process.clearRefs('4');
    expect(process.brk(heap + 5)).toBe(0);
    const vma = process.vmas().find(({ pathname }) => pathname === '[heap]');
    expect(vma?.flags).toContain('sd');
    expect(process.brk(heap)).toBe(0);
    expect(process.load(heap)).toBeLessThan(0);
    expect(process.brk(process.heapStartPage - 1)).toBe(-ERRNO.ENOMEM);
  });

  it('grow stacks downwards page by page without touching the flag', () => {
    const { process } = start();
    process.mmap(ARENA + 300, 2, WRITABLE, MAP.private | MAP.anonymous | MAP.fixed | MAP.growsDown);
    process.clearRefs('4');
    write(process, 298);
    expect(layout(process)).toBe('298-301');
    expect(words(process, 298, 300)).toBe('PXD -');
    mapPrivate(process, 200, 1, READ);
    expect(process.store(ARENA + 290, 0, 1)).toBeLessThan(0);
  });

  it('answer mprotect with EACCES for a read-only file opened read-only, and ENOMEM for holes', () => {
    const { kernel, process } = start();
    kernel.createFile('f', 2, 102);
    process.mmap(ARENA, 2, READ, MAP.shared | MAP.fixed, opened(kernel, 'f', false));
    expect(process.mprotect(ARENA, 2, WRITABLE)).toBe(-ERRNO.EACCES);
    expect(process.mprotect(ARENA, 3, READ)).toBe(-ERRNO.ENOMEM);
    expect(process.mmap(ARENA, 2, WRITABLE, MAP.shared | MAP.fixed, opened(kernel, 'f', false))).toBe(
      -ERRNO.EACCES,
    );
  });

  it('forget shared anonymous memory with its last mapping', () => {
    const { kernel, process } = start();
    mapShared(process, 0, 8);
    write(process, 0, 8);
    const child = process.fork();
    const before = kernel.machine.frames.free.length;
    process.munmap(ARENA, 8);
    expect(kernel.machine.frames.free.length).toBe(before);
    expect(read(child, 3)).toBe(119);
    child.exit();
    expect(kernel.machine.frames.free.length).toBeGreaterThanOrEqual(before + 8);
  });

  it('refuse what madvise cannot do', () => {
    const { process } = start();
    mapPrivate(process, 0, 4);
    process.mlock(ARENA, 2);
    expect(process.madvise(ARENA, 2, MADV.dontNeed)).toBe(-ERRNO.EINVAL);
    expect(process.madvise(ARENA, 2, 77)).toBe(-ERRNO.EINVAL);
    expect(process.madvise(ARENA, 8, MADV.dontDump)).toBe(-ERRNO.ENOMEM);
    expect(process.madvise(ARENA, 1, MADV.guardInstall)).toBe(-ERRNO.EINVAL);
    expect(process.munlock(ARENA, 2)).toBe(0);
    expect(process.mlockall(0)).toBe(-ERRNO.EINVAL);
  });

  it('keep execute-only memory from being read', () => {
    const { process } = start();
    mapPrivate(process, 0, 1, PROT.execute);
    expect(read(process, 0)).toBeLessThan(0);
  });
});
