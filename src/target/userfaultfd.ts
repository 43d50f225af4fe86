import { closeSync, openSync } from 'node:fs';
import { PAGE_SIZE } from '../core/index.ts';
import { SCAN_CATEGORY } from '../procfs/index.ts';
import type { Native } from './native/calls.ts';
import { SystemCallError } from './native/errno.ts';
import { PageScanner } from './page-scan.ts';

/** O_CLOEXEC, O_NONBLOCK and UFFD_USER_MODE_ONLY, which needs no privilege; nobody waits for faults here anyway. */
export const USERFAULTFD_FLAGS = 0x80801;
/** What /proc/PID/fd shows for one. */
export const USERFAULTFD_LINK = 'anon_inode:[userfaultfd]';

// include/uapi/linux/userfaultfd.h
const UFFDIO_API = 0xc018aa3f;
const UFFDIO_REGISTER = 0xc020aa00;
const UFFDIO_UNREGISTER = 0x8010aa01;
const UFFDIO_WRITEPROTECT = 0xc018aa06;
const API_VERSION = 0xaan;
const WRITE_PROTECT_ASYNC = 1n << 15n;
const MODE_WRITE_PROTECT = 2n;

/**
 * Our end of a userfaultfd. Its ioctls act on the address space that it was made in, whoever calls them: so a
 * descriptor from pidfd_getfd registers mappings of the target without any call inside it.
 */
export class Userfaultfd {
  readonly #native: Native;
  /** Our own number of it. */
  readonly descriptor: number;

  constructor(native: Native, descriptor: number) {
    this.#native = native;
    this.descriptor = descriptor;
  }

  /** Asks for WP_ASYNC: the kernel itself lifts the protection of a page that is written. Once, before all others. */
  enable(): string | undefined {
    return this.#tryIoctl(UFFDIO_API, API_VERSION, WRITE_PROTECT_ASYNC, 0n);
  }

  /**
   * Asks what this kernel offers, instead of `enable`.
   * @returns bits of uffdio_api.features; 0 if it offers nothing
   */
  offers(): bigint {
    const argument = BigUint64Array.of(API_VERSION, 0n, 0n);
    const address = this.#native.addressOf(new Uint8Array(argument.buffer));
    const { errno } = this.#native.tryCall('ioctl', this.descriptor, UFFDIO_API, address);
    return errno === undefined ? argument[1]! : 0n;
  }

  /** @returns errno; registering what is registered here already is no failure */
  register(startPage: number, endPage: number): string | undefined {
    return this.#tryIoctl(UFFDIO_REGISTER, ...rangeOf(startPage, endPage), MODE_WRITE_PROTECT, 0n);
  }

  unregister(startPage: number, endPage: number): string | undefined {
    return this.#tryIoctl(UFFDIO_UNREGISTER, ...rangeOf(startPage, endPage));
  }

  /**
   * Takes the marks of write protection off pages of a registered mapping.
   * @throws SystemCallError
   */
  lift(startPage: number, endPage: number): void {
    const refused = this.#tryIoctl(UFFDIO_WRITEPROTECT, ...rangeOf(startPage, endPage), 0n);
    if (refused !== undefined) throw new SystemCallError('UFFDIO_WRITEPROTECT', refused);
  }

  close(): void {
    closeSync(this.descriptor);
  }

  #tryIoctl(request: number, ...words: bigint[]): string | undefined {
    const argument = BigUint64Array.from(words);
    const address = this.#native.addressOf(new Uint8Array(argument.buffer));
    return this.#native.tryCall('ioctl', this.descriptor, request, address).errno;
  }
}

function rangeOf(startPage: number, endPage: number): [start: bigint, length: bigint] {
  return [BigInt(startPage) * BigInt(PAGE_SIZE), BigInt(endPage - startPage) * BigInt(PAGE_SIZE)];
}

/** Why this kernel cannot protect pages asynchronously, or not for us; undefined if it can. */
export function kernelProblem(native: Native): string | undefined {
  const scan = scanProblem(native);
  if (scan !== undefined) return scan;
  const { value, errno } = native.tryCall('userfaultfd', USERFAULTFD_FLAGS);
  if (errno === 'ENOSYS') return 'this kernel has no userfaultfd (CONFIG_USERFAULTFD is off)';
  if (errno !== undefined) return `userfaultfd is refused here (${errno})`;
  const userfaultfd = new Userfaultfd(native, Number(value));
  try {
    const refused = userfaultfd.enable();
    return refused === undefined
      ? undefined
      : `this kernel has no asynchronous write protection (UFFDIO_API gives ${refused})`;
  } finally {
    userfaultfd.close();
  }
}

function scanProblem(native: Native): string | undefined {
  const pagemap = openSync('/proc/self/pagemap', 'r');
  try {
    const nothing = { startPage: 0, endPage: 0, flags: 0, maximumRegions: 0, maximumPages: 0 };
    const categories = { categoryInverted: 0, categoryMask: 0, categoryAnyOfMask: 0 };
    new PageScanner(native).scan(pagemap, { ...nothing, ...categories, returnMask: SCAN_CATEGORY.written });
    return undefined;
  } catch {
    return 'this kernel has no PAGEMAP_SCAN (Linux 6.7 brought it)';
  } finally {
    closeSync(pagemap);
  }
}
