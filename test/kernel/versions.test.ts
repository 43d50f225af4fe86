import { describe, expect, it } from 'vitest';
import {
  type KernelVersion,
  MADV,
  MREMAP,
  PROT,
  UFFD_FEATURE,
  UFFD_REGISTER,
} from '../../src/kernel/index.ts';
import { ARENA, layout, mapPrivate, mapShared, start, userfaultfdOf, word, words, write } from './helpers.ts';

/** Recorded on 6.1.192 and 6.12.107 in turn. */
describe('differences between versions', () => {
  it('6.1 misses a store to shared memory after userfaultfd protection was lifted', () => {
    const shown = (version: KernelVersion) => {
      const { process } = start({ version });
      mapShared(process, 0, 2);
      write(process, 0, 2);
      const uffd = userfaultfdOf(process, UFFD_FEATURE.writeProtectHugeShared);
      uffd.register(ARENA, 2, UFFD_REGISTER.writeProtect);
      uffd.writeProtect(ARENA, 2, true);
      process.clearRefs('4');
      uffd.writeProtect(ARENA, 2, false);
      write(process, 1);
      return words(process, 0, 2);
    };
    expect(shown('6.1')).toBe('PFX PFX');
    expect(shown('6.12')).toBe('PFX PFXD');
  });

  it('a whole huge page counts as pinned, and a child gets its own copies', () => {
    const { kernel, process } = start();
    kernel.setThp('always');
    mapPrivate(process, 0, 512);
    write(process, 0);
    process.pin(ARENA + 3, 1);
    process.clearRefs('4');
    expect(word(process, 400)).toBe('PX');
    const child = process.fork();
    expect(words(child, 400, 402)).toBe('PXD PXD');
    expect(word(process, 400)).toBe('PX');
  });

  it('a partly reclaimed huge page is soft-dirty on 6.1, and gives its zero pages back on 6.12', () => {
    const shown = (version: KernelVersion) => {
      const { kernel, process } = start({ version });
      kernel.setThp('always');
      mapPrivate(process, 0, 512);
      write(process, 0);
      process.clearRefs('4');
      process.madvise(ARENA + 10, 2, MADV.pageOut);
      return `${word(process, 0)} ${word(process, 5)} ${word(process, 10)}`;
    };
    expect(shown('6.1')).toBe('PXD PXD WD');
    expect(shown('6.12')).toBe('PX P P');
  });

  it('changing the protection of a writable huge page loses its dirty bit from 6.6 until late 7.2', () => {
    const shown = (version: KernelVersion) => {
      const { kernel, process } = start({ version });
      kernel.setThp('always');
      mapPrivate(process, 0, 512);
      write(process, 0);
      process.mprotect(ARENA, 512, PROT.read);
      process.clearRefs('4');
      process.mprotect(ARENA + 100, 1, PROT.read | PROT.write);
      return word(process, 5);
    };
    expect(shown('6.12')).toBe('PX');
    expect(shown('7.2')).toBe('PXD');
  });

  it('6.17 moves several mappings at once and leaves the gaps of the target alone', () => {
    const { process } = start({ version: '6.18' });
    mapPrivate(process, 0, 2);
    mapPrivate(process, 4, 2, PROT.read);
    mapPrivate(process, 100, 8);
    write(process, 0);
    process.clearRefs('4');
    const move = MREMAP.mayMove | MREMAP.fixed;
    expect(process.mremap(ARENA, 6, 6, move, ARENA + 101)).toBe(ARENA + 101);
    expect(layout(process)).toBe('100-100, 101-102, 103-104, 105-106, 107-107');
    expect(word(process, 101)).toBe('PXD');
    const older = start({ version: '6.12' }).process;
    mapPrivate(older, 0, 2);
    mapPrivate(older, 4, 2, PROT.read);
    expect(older.mremap(ARENA, 6, 6, move, ARENA + 101)).toBe(-14);
  });

  it('moved populated memory joins an unpopulated neighbour from 6.16 on, and takes its identity along', () => {
    const { process } = start({ version: '6.18' });
    const move = MREMAP.mayMove | MREMAP.fixed;
    mapPrivate(process, 0, 2, PROT.read);
    mapPrivate(process, 2, 2);
    write(process, 2, 2);
    process.mremap(ARENA + 2, 2, 2, move, ARENA + 100);
    process.mprotect(ARENA, 2, PROT.read | PROT.write);
    process.mremap(ARENA + 100, 2, 2, move, ARENA + 2);
    expect(layout(process)).toBe('0-3 sd');
    expect(words(process.fork(), 2, 4)).toBe('PD PD');
  });
});
