import { readProcText } from './live-files.ts';
import type { Vma } from './view.ts';

/** Mappings by which a program talks to something that may write to pinned memory of its own. */
const WRITER_MAPPINGS: readonly (readonly [pattern: RegExp, what: string])[] = [
  [/^\/\[aio\]/, 'asynchronous I/O'],
  [/^anon_inode:\[io_uring\]/, 'io_uring'],
  [/^anon_inode:\[(vfio|iommufd)/, 'a device of its own (VFIO)'],
  [/^socket:\[/, 'a socket that shares memory with the kernel'],
];

/** The same for open files. */
const WRITER_FILES: readonly (readonly [pattern: RegExp, what: string])[] = [
  ...WRITER_MAPPINGS.filter(([, what]) => !what.startsWith('a socket')),
  [/^\/dev\/(vfio\/|iommu|vhost-vdpa|udmabuf)/, 'a device of its own'],
  [/^\/dev\/(infiniband\/|hfi1)/, 'RDMA'],
  [/^\/dev\/(dri\/|nvidia|kfd|accel|habanalabs|qaic|dxg)/, 'an accelerator'],
];

/** Memory of devices that a program maps; these names under /dev are ordinary memory. */
const DEVICE_MAPPING = /^\/dev\/(?!zero\b|shm\/|hugepages\/)/;

/**
 * What may write to the memory of a process past its page tables. Pages that a device writes to are pinned: the kernel
 * resolves their addresses once, and a protection that comes later does not stop it (Documentation/core-api/
 * pin_user_pages.rst). Whatever is pinned after a page was protected lifts the protection at that moment; so only what
 * is there when the tracker arms matters.
 * @param links of the open files, as they were shortly before the stop
 * @returns what it is, for people; undefined if nothing was found
 */
export function unseenWriters(
  pid: number,
  vmas: readonly Vma[],
  links: Iterable<string>,
): string | undefined {
  for (const { pathname } of vmas) {
    const what = nameFor(WRITER_MAPPINGS, pathname);
    if (what !== undefined) return sentence(what, pathname);
    if (DEVICE_MAPPING.test(pathname)) return sentence('a device', pathname);
  }
  for (const link of links) {
    const what = nameFor(WRITER_FILES, link);
    if (what !== undefined) return sentence(what, link);
  }
  const pinned = /^VmPin:\s*(\d+) kB$/m.exec(readProcText(pid, 'status'))?.[1];
  return pinned === undefined || pinned === '0' ? undefined : sentence('a device', `${pinned} kB are pinned`);
}

function nameFor(table: typeof WRITER_FILES, text: string): string | undefined {
  return table.find(([pattern]) => pattern.test(text))?.[1];
}

function sentence(what: string, detail: string): string {
  return `it uses ${what} (${detail}), which may write to its memory unseen`;
}
