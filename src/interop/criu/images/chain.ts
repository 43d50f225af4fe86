import { realpath } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { IntegrityError, UsageError } from '../../../core/index.ts';
import { openImageDirectory } from './directory.ts';
import type { ImageDirectory } from './types.ts';

/** Where parents may be. */
export interface ChainBounds {
  /** Parents outside of this directory are refused: it is an archive, and what is outside is not of it. */
  readonly root?: string | undefined;
  /** Told of parents that are not beside the first directory. */
  readonly onNote?: ((note: string) => void) | undefined;
}

/**
 * A directory and its parents, as CRIU finds them (criu/image.c, open_parent): by the link `parent` in each.
 * @returns oldest first
 * @throws IntegrityError if a parent is missing, is outside of the bounds, or is its own child; as `openImageDirectory`
 */
export async function chainOf(newest: ImageDirectory, bounds: ChainBounds = {}): Promise<ImageDirectory[]> {
  const chain = [newest];
  const seen = new Set([newest.path]);
  const beside = dirname(newest.path);
  for (let child = newest; child.parentLink !== undefined; child = chain[0]!) {
    const path = await parentPath(child);
    if (seen.has(path)) throw wrongParent(child, `it leads back to ${path}`);
    if (bounds.root !== undefined && !isWithin(path, bounds.root)) {
      throw wrongParent(child, `it leads out of the archive, to ${path}`);
    }
    if (!isWithin(path, beside)) bounds.onNote?.(`the parent of ${child.path} is elsewhere: ${path}`);
    seen.add(path);
    chain.unshift(await openParent(child, path));
  }
  return chain;
}

async function parentPath(child: ImageDirectory): Promise<string> {
  try {
    return await realpath(join(child.path, 'parent'));
  } catch (error) {
    throw wrongParent(child, `there is nothing (${(error as Error).message})`);
  }
}

/** Who asked for the child may not know of the parent: what is no directory of images is a fault of the link. */
async function openParent(child: ImageDirectory, path: string): Promise<ImageDirectory> {
  try {
    return await openImageDirectory(path);
  } catch (error) {
    if (error instanceof UsageError) throw wrongParent(child, error.message);
    throw error;
  }
}

function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === sep ? sep : directory + sep);
}

function wrongParent({ path, parentLink }: ImageDirectory, what: string): IntegrityError {
  return new IntegrityError(`${join(path, 'parent')} says ${parentLink}: ${what}`, {
    hint: 'CRIU needs every parent of a directory; without them its pages are not known',
    data: { path: join(path, 'parent'), target: parentLink ?? '' },
  });
}
