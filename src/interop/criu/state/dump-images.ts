import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { IntegrityError } from '../../../core/index.ts';
import { type MessageFields, messagesOf } from '../images/messages.ts';

/**
 * The largest image that is read as a whole. The mappings of a process with 400 000 of them fit; the kernel allows
 * 65 530 unless it is told otherwise. Decoded, an image takes some thirty times its size.
 */
const MAX_WHOLE_BYTES = 16 * 1024 * 1024;

/** The small images of a directory. CRIU does not write files that would have no entries: a missing one is empty. */
export class DumpImages {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  path(name: string): string {
    return join(this.directory, `${name}.img`);
  }

  async has(name: string): Promise<boolean> {
    return (await sizeOf(this.path(name))) !== undefined;
  }

  /**
   * All entries of an image.
   * @param name without `.img`
   * @param kind as CRIU names it: `MM`
   * @throws IntegrityError naming file and offset
   */
  async entries(name: string, kind: string): Promise<MessageFields[]> {
    const path = this.path(name);
    const size = await sizeOf(path);
    if (size === undefined) return [];
    if (size > MAX_WHOLE_BYTES) {
      throw new IntegrityError(`${path} has ${size} bytes, which no image ${kind} of a sane process has`, {
        hint: `ckpt reads such images up to ${MAX_WHOLE_BYTES} bytes`,
        data: { path, bytes: size },
      });
    }
    return messagesOf(path, kind);
  }

  /** The only entry of an image; undefined if there is no such image. @throws IntegrityError */
  async entry(name: string, kind: string): Promise<MessageFields | undefined> {
    return (await this.entries(name, kind))[0];
  }

  /** The only entry of an image that must be there. @throws IntegrityError */
  async required(name: string, kind: string): Promise<MessageFields> {
    const found = await this.entry(name, kind);
    if (found !== undefined) return found;
    const path = this.path(name);
    throw new IntegrityError(`${path} is missing or empty`, {
      hint: 'copy the directory again from where CRIU wrote it, with all of its files',
      data: { path },
    });
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
