import type { Stats } from 'node:fs';
import { access, lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { UsageError } from '../../../core/index.ts';
import { STORE_FILE } from '../../../store/index.ts';
import type { KeptFile } from './types.ts';

/** Deeper directories are not believed: no archive of containers has them outside of its tar files. */
const MAX_DEPTH = 32;
/** More files are not believed. */
const MAX_FILES = 1_000_000;

/** Files of a directory, and what was left out. */
export interface KeptFiles {
  /** Ascending by name. */
  readonly files: readonly KeptFile[];
  readonly notes: readonly string[];
}

/**
 * Lists what is below a directory: files, links as they are, directories. What is neither is left out, such as sockets;
 * so are directories with an inventory of their own, which are other dumps, and stores: what is kept goes into one.
 * @param excluded paths that are left out without a word
 * @param images a directory with an inventory that belongs to what is kept
 * @throws UsageError if something cannot be read, or there is too much
 */
export async function keptFiles(
  root: string,
  excluded: ReadonlySet<string>,
  images = root,
): Promise<KeptFiles> {
  const walk = new Walk(excluded, images);
  try {
    await walk.into(root, '', 0);
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new UsageError(`cannot read what is in ${root}: ${(cause as Error).message}`, {
      data: { path: root },
      cause,
    });
  }
  walk.files.sort((a, b) => (a.name < b.name ? -1 : 1));
  return walk;
}

class Walk implements KeptFiles {
  readonly files: KeptFile[] = [];
  readonly notes: string[] = [];
  readonly #excluded: ReadonlySet<string>;
  readonly #images: string;

  constructor(excluded: ReadonlySet<string>, images: string) {
    this.#excluded = excluded;
    this.#images = images;
  }

  async into(directory: string, prefix: string, depth: number): Promise<void> {
    if (depth > MAX_DEPTH) throw tooMuch(directory, `more than ${MAX_DEPTH} directories within each other`);
    for (const bytes of await readdir(directory, { encoding: 'buffer' })) {
      const path = join(directory, bytes.toString());
      const part = textOf(bytes, path, 'a name');
      if (this.#excluded.has(path)) continue;
      if (this.files.length >= MAX_FILES) throw tooMuch(directory, `more than ${MAX_FILES} files`);
      await this.#take(path, prefix + part, depth);
    }
  }

  async #take(path: string, name: string, depth: number): Promise<void> {
    const status = await lstat(path);
    if (status.isFile()) this.#add(path, name, 'file', status);
    else if (status.isSymbolicLink()) {
      const target = textOf(await readlink(path, { encoding: 'buffer' }), path, 'a link to a name');
      this.#add(path, name, 'link', status, target);
    } else if (!status.isDirectory()) this.notes.push(`${path} is left out: it is neither file nor link`);
    else await this.#takeDirectory(path, name, depth, status);
  }

  async #takeDirectory(path: string, name: string, depth: number, status: Stats): Promise<void> {
    if (path !== this.#images && (await has(path, 'inventory.img'))) {
      this.notes.push(`${path} is left out: it is a dump of its own`);
    } else if (await has(path, STORE_FILE)) this.notes.push(`${path} is left out: it is a store`);
    else {
      this.#add(path, name, 'directory', status);
      await this.into(path, `${name}/`, depth + 1);
    }
  }

  #add(path: string, name: string, kind: KeptFile['kind'], status: Stats, target?: string): void {
    this.files.push({
      name,
      kind,
      mode: status.mode & 0o7777,
      bytes: kind === 'file' ? status.size : 0,
      ...(target === undefined ? {} : { target }),
      path,
    });
  }
}

async function has(directory: string, name: string): Promise<boolean> {
  return access(join(directory, name)).then(
    () => true,
    () => false,
  );
}

/** Names are kept as text, which only UTF-8 comes back from byte for byte. */
function textOf(bytes: Buffer, path: string, what: string): string {
  const text = bytes.toString();
  if (Buffer.from(text).equals(bytes)) return text;
  throw tooMuch(path, `${what} that is not UTF-8`);
}

function tooMuch(path: string, what: string): UsageError {
  return new UsageError(`cannot keep what is in ${path}: ${what}`, { data: { path } });
}
