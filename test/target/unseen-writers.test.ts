import { describe, expect, it } from 'vitest';
import { unseenWriters } from '../../src/target/unseen-writers.ts';
import { vma } from '../tracker/fake-process.ts';

const look = (pathname: string, ...links: string[]) =>
  unseenWriters(process.pid, [vma(1, 2, { pathname })], links);

describe('what writes past page tables', () => {
  it.each([
    ['/[aio] (deleted)', 'asynchronous I/O'],
    ['anon_inode:[io_uring]', 'io_uring'],
    ['anon_inode:[vfio-device]', 'a device of its own'],
    ['socket:[4711]', 'a socket that shares memory with the kernel'],
    ['/dev/dri/card0', 'a device (/dev/dri/card0)'],
    ['/dev/infiniband/uverbs0', 'a device'],
  ])('is seen in the mapping %s', (pathname, what) => {
    expect(look(pathname)).toContain(`it uses ${what}`);
  });

  it.each([
    ['anon_inode:[io_uring]', 'io_uring'],
    ['/dev/vfio/7', 'a device of its own'],
    ['/dev/infiniband/uverbs0', 'RDMA'],
    ['/dev/nvidia0', 'an accelerator'],
  ])('is seen in the open file %s', (link, what) => {
    expect(look('', '/dev/null', link)).toContain(`it uses ${what} (${link})`);
  });

  it('is nothing that ordinary programs have', () => {
    const mappings = ['', '[heap]', '/usr/lib/libc.so.6', '/dev/zero (deleted)', '/dev/shm/x', '/memfd:x'];
    for (const pathname of mappings) {
      expect(look(pathname, 'socket:[17]', '/dev/pts/0', '/dev/kvm', 'pipe:[3]')).toBe(undefined);
    }
  });
});
