import { PAGE_SIZE } from '../../core/index.ts';
import { ERRNO } from '../abi.ts';
import type { AddressSpace } from '../address-space.ts';
import { findForFault } from '../fault/access.ts';
import { type GupRequest, getUserPage } from '../fault/gup.ts';

/** One piece of a transfer: the frame behind a page and the part of it that is meant. */
type Transfer = (frame: number, offset: number, done: number, count: number) => void;

/**
 * Walks the pages of a transfer page by page, faulting each in as `request` says.
 * @returns bytes transferred; stops at the first page that cannot be had.
 */
function transfer(
  space: AddressSpace,
  page: number,
  offset: number,
  count: number,
  request: GupRequest,
  growsStack: boolean,
  move: Transfer,
): number {
  let done = 0;
  let at = page + Math.floor(offset / PAGE_SIZE);
  let inside = offset % PAGE_SIZE;
  while (done < count) {
    const vma = growsStack ? findForFault(space, at) : space.vmas.lookup(at);
    if (vma === undefined) break;
    const frame = getUserPage(space, vma, at, request);
    if (frame < 0) break;
    const part = Math.min(PAGE_SIZE - inside, count - done);
    move(frame, inside, done, part);
    done += part;
    inside = 0;
    at++;
  }
  return done;
}

/** write(2) to /proc/PID/mem: bytes, or -EIO if not even the first could be written. */
export function writeMem(
  space: AddressSpace | undefined,
  page: number,
  offset: number,
  bytes: Uint8Array,
  force: boolean,
): number {
  if (space === undefined) return 0;
  const done = transfer(
    space,
    page,
    offset,
    bytes.length,
    { write: true, force },
    true,
    (frame, at, from, part) => {
      space.machine.frames.writeBytes(frame, at, bytes.subarray(from, from + part));
    },
  );
  return done === 0 && bytes.length > 0 ? -ERRNO.EIO : done;
}

/** read(2) of /proc/PID/mem: bytes, or -EIO. Faults pages in as a load does. */
export function readMem(
  space: AddressSpace | undefined,
  page: number,
  offset: number,
  into: Uint8Array,
  force: boolean,
): number {
  if (space === undefined) return 0;
  const done = readPages(space, page, offset, into, { write: false, force }, true);
  return done === 0 && into.length > 0 ? -ERRNO.EIO : done;
}

/** process_vm_writev to one range: bytes, or -EFAULT. */
export function writeVm(
  space: AddressSpace | undefined,
  page: number,
  offset: number,
  bytes: Uint8Array,
): number {
  if (space === undefined) return -ERRNO.ESRCH;
  const done = transfer(
    space,
    page,
    offset,
    bytes.length,
    { write: true },
    false,
    (frame, at, from, part) => {
      space.machine.frames.writeBytes(frame, at, bytes.subarray(from, from + part));
    },
  );
  return done === 0 && bytes.length > 0 ? -ERRNO.EFAULT : done;
}

/** process_vm_readv of one range: bytes, or -EFAULT. */
export function readVm(
  space: AddressSpace | undefined,
  page: number,
  offset: number,
  into: Uint8Array,
): number {
  if (space === undefined) return -ERRNO.ESRCH;
  const done = readPages(space, page, offset, into, { write: false, pin: 'passing' }, false);
  return done === 0 && into.length > 0 ? -ERRNO.EFAULT : done;
}

const WHOLE = new Uint8Array(PAGE_SIZE);

function readPages(
  space: AddressSpace,
  page: number,
  offset: number,
  into: Uint8Array,
  request: GupRequest,
  growsStack: boolean,
): number {
  const { frames } = space.machine;
  return transfer(space, page, offset, into.length, request, growsStack, (frame, at, to, part) => {
    if (part === PAGE_SIZE) {
      frames.render(frame, into.subarray(to, to + PAGE_SIZE));
      return;
    }
    frames.render(frame, WHOLE);
    into.set(WHOLE.subarray(at, at + part), to);
  });
}
