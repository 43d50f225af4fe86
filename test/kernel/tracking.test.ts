import { describe, expect, it } from 'vitest';
import {
  ACCESS_SIGNAL,
  ERRNO,
  MADV,
  MAP,
  MREMAP,
  PROT,
  UFFD_FEATURE,
  UFFD_REGISTER,
} from '../../src/kernel/index.ts';
import {
  ARENA,
  layout,
  mapPrivate,
  mapShared,
  opened,
  pagemapOf,
  read,
  start,
  userfaultfdOf,
  WRITABLE,
  word,
  words,
  write,
} from './helpers.ts';

describe('soft-dirty', () => {
  it('is set by stores after a clear, once per page and by one fault each', () => {
    const { kernel, process } = start();
    mapPrivate(process, 0, 64);
    write(process, 0, 64);
    process.clearRefs('4');
    const before = kernel.counters().faults.writeProtect;
    write(process, 0, 64);
    write(process, 0, 64);
    for (let page = 0; page < 64; page++) read(process, page);
    expect(kernel.counters().faults.writeProtect - before).toBe(64);
    expect(word(process, 63)).toBe('PXD');
  });

  it('never appears in a kernel without the option, and a clear costs no faults there', () => {
    const { kernel, process } = start({ softDirty: false });
    mapPrivate(process, 0, 4);
    write(process, 0, 2);
    expect(words(process, 0, 3)).toBe('PX PX -');
    expect(process.clearRefs('4')).toBe(1);
    write(process, 0, 2);
    expect(kernel.counters().faults.writeProtect).toBe(0);
    expect(process.vmas().every(({ flags }) => !flags.includes('sd'))).toBe(true);
  });

  it('tells a listener of stores and of the faults they took', () => {
    const { kernel, process } = start();
    mapPrivate(process, 0, 4);
    const stores: number[] = [];
    const faults: number[] = [];
    kernel.listener = {
      store: (_pid, page) => stores.push(page - ARENA),
      storeFault: (_pid, page) => faults.push(page - ARENA),
    };
    write(process, 1);
    write(process, 1);
    expect(stores).toEqual([1, 1]);
    expect(faults).toEqual([1]);
  });

  it('moves with single entries and is set there, but not by moves of whole page tables', () => {
    const { process } = start();
    mapPrivate(process, 0, 512);
    write(process, 0, 2);
    process.clearRefs('4');
    process.mremap(ARENA, 512, 512, MREMAP.mayMove | MREMAP.fixed, ARENA + 4096);
    expect(words(process, 4096, 4099)).toBe('PX PX -');
    process.mremap(ARENA + 4096, 512, 512, MREMAP.mayMove | MREMAP.fixed, ARENA + 8193);
    expect(words(process, 8193, 8196)).toBe('PXD PXD -');
  });

  it('survives swapping out and in, whichever way the page comes back', () => {
    const { kernel, process } = start();
    mapPrivate(process, 0, 4);
    write(process, 0, 4);
    process.clearRefs('4');
    write(process, 0, 2);
    process.madvise(ARENA, 4, MADV.pageOut);
    expect(words(process, 0, 4)).toBe('WD WD W W');
    expect(read(process, 0)).toBe(119);
    expect(read(process, 2)).toBe(119);
    expect(words(process, 0, 4)).toBe('PXD WD PX W');
    write(process, 2);
    expect(kernel.swapOff()).toBe(0);
    expect(words(process, 0, 4)).toBe('PXD PXD PXD PX');
  });

  it('stays with pages that are pinned for DMA', () => {
    const { process } = start();
    mapPrivate(process, 0, 4);
    write(process, 0, 4);
    const buffer = process.pin(ARENA + 1, 2);
    if (typeof buffer === 'number') throw new Error(`pin: ${buffer}`);
    process.clearRefs('4');
    expect(words(process, 0, 4)).toBe('PX PXD PXD PX');
    const child = process.fork();
    expect(words(child, 0, 4)).toBe('P PXD PXD P');
    buffer.release();
    process.clearRefs('4');
    expect(words(process, 1, 3)).toBe('PX PX');
  });

  it('covers a huge page as a whole', () => {
    const { kernel, process } = start();
    kernel.setThp('always');
    mapPrivate(process, 0, 512);
    read(process, 7);
    expect(word(process, 500)).toBe('PFD');
    process.clearRefs('4');
    write(process, 9);
    expect(words(process, 8, 11)).toBe('P PXD P');
    kernel.setThp('always');
    mapPrivate(process, 1024, 512);
    write(process, 1024);
    process.clearRefs('4');
    write(process, 1030);
    expect(words(process, 1534, 1536)).toBe('PXD PXD');
  });

  it('spreads over a split huge page from 6.4 on', () => {
    const split = (version: '6.1' | '6.12') => {
      const { kernel, process } = start({ version });
      kernel.setThp('always');
      mapPrivate(process, 0, 512);
      write(process, 0);
      process.clearRefs('4');
      process.mprotect(ARENA + 100, 1, PROT.read);
      return word(process, 5);
    };
    expect(split('6.1')).toBe('PX');
    expect(split('6.12')).toBe('PXD');
  });

  it('is lost by KSM for all but one of the merged pages', () => {
    const { kernel, process } = start();
    mapPrivate(process, 0, 4);
    for (let page = 0; page < 4; page++) process.fill(ARENA + page, 65);
    process.madvise(ARENA, 4, MADV.mergeable);
    process.clearRefs('4');
    for (let page = 0; page < 4; page++) process.fill(ARENA + page, 66);
    kernel.setKsmRun(1);
    expect(words(process, 0, 4)).toBe('P PD P P');
    expect(process.peekPage(ARENA + 3, new Uint8Array(4096))).toBe(true);
    write(process, 3);
    expect(word(process, 3)).toBe('PXD');
    expect(read(process, 2)).toBe(66);
  });

  it('reads 0 for hugetlb memory after the first clear', () => {
    const { kernel, process } = start();
    kernel.setHugePages(2);
    process.mmap(ARENA, 1024, WRITABLE, MAP.private | MAP.anonymous | MAP.hugeTlb | MAP.fixed);
    write(process, 0);
    expect(word(process, 511)).toBe('PXD');
    process.clearRefs('4');
    write(process, 0);
    expect(words(process, 511, 513)).toBe('PX -');
    process.munmap(ARENA, 1024);
    expect(kernel.machine.hugePoolTaken).toBe(0);
  });
});

describe('userfaultfd', () => {
  const async = UFFD_FEATURE.writeProtectAsync | UFFD_FEATURE.writeProtectUnpopulated;

  it('knows the features of its version', () => {
    expect(start().process.userfaultfd(async)).toBe(-ERRNO.EINVAL);
    expect(typeof start({ version: '6.12' }).process.userfaultfd(async)).toBe('object');
  });

  it('resolves asynchronous write protection by itself and marks empty slots', () => {
    const { process } = start({ version: '6.12' });
    mapPrivate(process, 0, 4);
    write(process, 0, 2);
    const uffd = userfaultfdOf(process, async);
    expect(uffd.register(ARENA, 4, UFFD_REGISTER.writeProtect)).toBe(0);
    expect(uffd.writeProtect(ARENA, 4, true)).toBe(0);
    process.clearRefs('4');
    expect(words(process, 0, 4)).toBe('PUX PUX WU WU');
    write(process, 1, 2);
    read(process, 3);
    expect(words(process, 0, 4)).toBe('PUX PXD PXD PU');
    expect(uffd.close()).toBe(0);
    expect(words(process, 0, 4)).toBe('PX PXD PXD P');
    expect(uffd.register(ARENA, 1, UFFD_REGISTER.missing)).toBe(-ERRNO.EBADF);
  });

  it('blocks a store that nobody serves', () => {
    const { process } = start();
    mapPrivate(process, 0, 1);
    const uffd = userfaultfdOf(process, 0);
    uffd.register(ARENA, 1, UFFD_REGISTER.missing);
    expect(process.store(ARENA, 0, 1)).toBe(ACCESS_SIGNAL.blocked);
    expect(uffd.copy(ARENA, new Uint8Array(4096).fill(7), false)).toBe(0);
    expect(read(process, 0)).toBe(7);
    expect(uffd.copy(ARENA, new Uint8Array(4096), false)).toBe(-ERRNO.EEXIST);
    expect(uffd.writeProtect(ARENA, 1, true)).toBe(-ERRNO.ENOENT);
  });
});

describe('memory from outside', () => {
  it('is written through /proc/PID/mem even where the mapping forbids it, but not shared read-only memory', () => {
    const { kernel, process } = start();
    kernel.createFile('f', 2, 102);
    mapPrivate(process, 0, 1, PROT.read);
    process.mmap(ARENA + 8, 2, PROT.read, MAP.shared | MAP.fixed, opened(kernel, 'f'));
    process.clearRefs('4');
    const bytes = Uint8Array.of(1, 2, 3);
    expect(process.memWrite(ARENA, 5, bytes)).toBe(3);
    expect(word(process, 0)).toBe('PXD');
    expect(process.memWrite(ARENA + 8, 0, bytes)).toBe(-ERRNO.EIO);
    expect(process.vmWrite(ARENA, 0, bytes)).toBe(-ERRNO.EFAULT);
    const back = new Uint8Array(4);
    expect(process.memRead(ARENA, 4, back)).toBe(4);
    expect([...back]).toEqual([0, 1, 2, 3]);
    expect(process.memRead(ARENA + 99, 0, back)).toBe(-ERRNO.EIO);
    const refusing = start({ version: '7.2' }).process;
    mapPrivate(refusing, 0, 1, PROT.read);
    expect(refusing.memWrite(ARENA, 0, bytes)).toBe(-ERRNO.EIO);
  });

  it('crosses page borders and stops at the end of a mapping', () => {
    const { process } = start();
    mapPrivate(process, 0, 2);
    const bytes = new Uint8Array(10000).fill(9);
    expect(process.memWrite(ARENA, 100, bytes)).toBe(8092);
    const into = new Uint8Array(8192);
    expect(process.vmRead(ARENA, 0, into)).toBe(8192);
    expect(into.indexOf(9)).toBe(100);
  });

  it('unshares a page that is read by process_vm_readv', () => {
    const { process } = start();
    mapPrivate(process, 0, 1);
    write(process, 0);
    process.clearRefs('4');
    const child = process.fork();
    expect(word(process, 0)).toBe('P');
    process.vmRead(ARENA, 0, new Uint8Array(1));
    expect(word(process, 0)).toBe('PX');
    expect(word(child, 0)).toBe('PX');
  });
});

describe('files', () => {
  it('map the cached neighbours of a loaded page, and copy on a private store', () => {
    const { kernel, process } = start();
    kernel.createFile('f', 40, 102);
    const file = opened(kernel, 'f');
    process.mmap(ARENA, 40, WRITABLE, MAP.shared | MAP.fixed, file);
    process.mmap(ARENA + 64, 40, WRITABLE, MAP.private | MAP.fixed, file);
    process.clearRefs('4');
    read(process, 17);
    write(process, 66);
    expect(words(process, 15, 18)).toBe('- PFX PFX');
    expect(words(process, 65, 68)).toBe('- PXD -');
    expect(kernel.writeFile('f', 17 * 4096, Uint8Array.of(70))).toBe(1);
    expect(read(process, 17)).toBe(70);
    expect(word(process, 17)).toBe('PFX');
  });

  it('raise SIGBUS behind the end, and lose private copies when they are cut', () => {
    const { kernel, process } = start();
    kernel.createFile('f', 4, 102);
    process.mmap(ARENA, 8, WRITABLE, MAP.private | MAP.fixed, opened(kernel, 'f'));
    expect(read(process, 5)).toBe(ACCESS_SIGNAL.bus);
    write(process, 3);
    kernel.truncateFile('f', 2);
    expect(word(process, 3)).toBe('D');
    expect(read(process, 3)).toBe(ACCESS_SIGNAL.bus);
  });

  it('are written back by msync, which keeps soft-dirty and catches the next store', () => {
    const { kernel, process } = start();
    kernel.createFile('/mnt/f', 2, 102);
    process.mmap(ARENA, 2, WRITABLE, MAP.shared | MAP.fixed, opened(kernel, '/mnt/f'));
    process.clearRefs('4');
    write(process, 0);
    expect(process.msync(ARENA, 2)).toBe(0);
    expect(word(process, 0)).toBe('PFXD');
    const before = kernel.counters().faults.writeProtect;
    write(process, 0);
    expect(kernel.counters().faults.writeProtect).toBe(before + 1);
  });

  it('lose soft-dirty when the kernel drops a shared page', () => {
    const { process } = start();
    mapShared(process, 0, 2);
    process.clearRefs('4');
    write(process, 0, 2, 5);
    process.madvise(ARENA, 2, MADV.pageOut);
    expect(words(process, 0, 2)).toBe('- -');
    expect(read(process, 0)).toBe(5);
    expect(words(process, 0, 2)).toBe('PFX -');
  });
});

describe('guard pages', () => {
  it('raise a signal, show up in pagemap and go away', () => {
    const { process } = start({ version: '6.18' });
    mapPrivate(process, 0, 3);
    write(process, 0, 3);
    process.clearRefs('4');
    expect(process.madvise(ARENA + 1, 1, MADV.guardInstall)).toBe(0);
    expect(word(process, 1)).toBe('WG');
    expect(read(process, 1)).toBe(ACCESS_SIGNAL.segmentation);
    process.madvise(ARENA, 3, MADV.dontNeed);
    expect(words(process, 0, 3)).toBe('- WG -');
    expect(process.madvise(ARENA + 1, 1, MADV.guardRemove)).toBe(0);
    expect(read(process, 1)).toBe(0);
  });
});

describe('exec and exit', () => {
  it('begin with everything soft-dirty but the stack, and leave an empty pagemap behind', () => {
    const { kernel, process } = start();
    const old = pagemapOf(process);
    process.exec('other');
    expect(old.readWords(ARENA, 1, new Uint32Array(2))).toBe(0);
    const flags = process.vmas().map((vma) => [vma.pathname, vma.flags.includes('sd')] as const);
    expect(flags.filter(([, dirty]) => !dirty).map(([name]) => name)).toEqual(['[stack]']);
    process.exit();
    expect(process.state).toBe('zombie');
    expect(process.clearRefs('4')).toBe(1);
    expect(pagemapOf(process).read(0n, 8)).toBe(0);
    kernel.reap(process.pid);
    expect(kernel.process(process.pid)).toBeUndefined();
    const later = start({ version: '6.12' }).process;
    later.exit();
    expect(later.openPagemap()).toBe(-ERRNO.ESRCH);
  });

  it('give all frames back', () => {
    const { kernel, process } = start();
    const { frames } = kernel.machine;
    const used = () => frames.next - frames.free.length - frames.freeHuge.length * 512;
    const before = used();
    kernel.setThp('always');
    const child = process.fork();
    mapPrivate(child, 0, 1024);
    write(child, 0, 1024);
    mapShared(child, 2048, 8);
    write(child, 2048, 8);
    child.madvise(ARENA, 600, MADV.pageOut);
    child.fork().exit();
    child.exit();
    expect(used()).toBe(before);
    expect(layout(process)).toBe('');
  });
});
