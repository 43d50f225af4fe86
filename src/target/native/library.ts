import { UnsupportedError } from '../../core/index.ts';
import { errnoName, SystemCallError } from './errno.ts';

/** An argument of a system call. */
export type Word = number | bigint;

/** The result of a system call. */
export interface CallResult {
  readonly value: Word;
  /** `EPERM`; undefined for success. */
  readonly errno: string | undefined;
}

/** The only way out of JavaScript: libc's `syscall`, and addresses of our own memory. */
export class SystemLibrary {
  readonly #syscall: (number: number, ...words: Word[]) => Word;
  readonly #errno: () => number;
  readonly #address: (bytes: Uint8Array) => bigint;

  constructor(
    syscall: (number: number, ...words: Word[]) => Word,
    errno: () => number,
    address: (bytes: Uint8Array) => bigint,
  ) {
    this.#syscall = syscall;
    this.#errno = errno;
    this.#address = address;
  }

  /** Makes a system call of this process and tells how it went. */
  tryCall(number: number, ...words: Word[]): CallResult {
    const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = words;
    const value = this.#syscall(number, a, b, c, d, e, f);
    return value === -1 ? { value, errno: errnoName(this.#errno()) } : { value, errno: undefined };
  }

  /**
   * Makes a system call of this process. `what` names it in the error.
   * @throws SystemCallError
   */
  call(what: string, number: number, ...words: Word[]): Word {
    const { value, errno } = this.tryCall(number, ...words);
    if (errno !== undefined) throw new SystemCallError(what, errno);
    return value;
  }

  /** Where the bytes are in our memory. The caller keeps them alive, and their buffer in its place. */
  addressOf(bytes: Uint8Array): bigint {
    return this.#address(bytes);
  }
}

let loaded: Promise<SystemLibrary> | undefined;

/**
 * Loads the native library, once.
 * @throws UnsupportedError if this platform has none, saying why
 */
export function loadSystemLibrary(): Promise<SystemLibrary> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<SystemLibrary> {
  if (process.platform !== 'linux') throw unsupported(`this is ${process.platform}, not Linux`);
  if (process.arch !== 'x64' && process.arch !== 'arm64')
    throw unsupported(`the processor is ${process.arch}; x64 and arm64 are known`);
  try {
    const { default: koffi } = await import('koffi');
    const library = koffi.load(null);
    const syscall: (number: number, ...words: Word[]) => Word = library.func(
      'long syscall(long number, intptr_t a, intptr_t b, intptr_t c, intptr_t d, intptr_t e, intptr_t f)',
    );
    const errno: () => number = () => koffi.errno();
    const address = (bytes: Uint8Array) => BigInt(koffi.address(bytes));
    return new SystemLibrary(syscall, errno, address);
  } catch (error) {
    const why = error instanceof Error ? error.message.split('\n')[0] : String(error);
    throw unsupported(`the package koffi cannot be loaded (${why})`, error);
  }
}

function unsupported(why: string, cause?: unknown): UnsupportedError {
  return new UnsupportedError(`no native system calls: ${why}`, {
    hint: "reinstall ckpt with optional packages ('npm install --include=optional'); plain /proc access works without",
    cause,
  });
}
