import type { FileHandle } from 'node:fs/promises';
import { IntegrityError } from '../../core/index.ts';

/**
 * Fills `into` from an open file. A read may give less than was asked for, and what is missing must not be taken for
 * zeros.
 * @throws IntegrityError naming file and offset if the file cannot be read, or has become shorter since it was looked at
 */
export async function readFully(
  file: FileHandle,
  path: string,
  into: Uint8Array,
  offsetBytes: number,
): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await file
      .read(into, done, into.length - done, offsetBytes + done)
      .catch((cause: unknown) => {
        throw unreadable(path, offsetBytes + done, (cause as Error).message, cause);
      });
    if (bytesRead === 0) throw unreadable(path, offsetBytes + done, 'it became shorter while it was read');
    done += bytesRead;
  }
}

/** Says that a file which was listed or opened before cannot be read any more. */
export function unreadable(path: string, offset: number, why: string, cause?: unknown): IntegrityError {
  return new IntegrityError(`${path} cannot be read at byte ${offset}: ${why}`, {
    data: { path, offset },
    cause,
  });
}
