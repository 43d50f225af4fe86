import { Buffer } from 'node:buffer';

const MODE_DIRECTORY = 0o040755;
const MODE_REGULAR = 0o100000;
const MODE_LINK = 0o120777;
const MODE_CHARACTER_DEVICE = 0o020600;

/** Writes an initramfs in the "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst). */
export class CpioWriter {
  readonly #chunks: Buffer[] = [];
  readonly #directories = new Set<string>();
  #inode = 1;

  /** Adds a directory and its parents; `path` is absolute. */
  directory(path: string): void {
    if (path === '/' || path === '' || this.#directories.has(path)) return;
    this.directory(path.slice(0, path.lastIndexOf('/')));
    this.#directories.add(path);
    this.#entry(path, MODE_DIRECTORY, Buffer.alloc(0));
  }

  file(path: string, content: Uint8Array | string, permissions: number): void {
    this.#parent(path);
    this.#entry(path, MODE_REGULAR | permissions, Buffer.from(content));
  }

  link(path: string, to: string): void {
    this.#parent(path);
    this.#entry(path, MODE_LINK, Buffer.from(to));
  }

  characterDevice(path: string, major: number, minor: number): void {
    this.#parent(path);
    this.#entry(path, MODE_CHARACTER_DEVICE, Buffer.alloc(0), major, minor);
  }

  finish(): Buffer {
    this.#entry('/TRAILER!!!', 0, Buffer.alloc(0));
    return Buffer.concat(this.#chunks);
  }

  #parent(path: string): void {
    this.directory(path.slice(0, path.lastIndexOf('/')));
  }

  #entry(path: string, mode: number, content: Buffer, major = 0, minor = 0): void {
    const name = Buffer.from(`${path.slice(1)}\0`);
    const fields = [this.#inode++, mode, 0, 0, 1, 0, content.length, 0, 0, major, minor, name.length, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
    this.#chunks.push(pad(Buffer.concat([Buffer.from(header), name])), pad(content));
  }
}

function pad(bytes: Buffer): Buffer {
  const missing = -bytes.length & 3;
  return missing === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(missing)]);
}
