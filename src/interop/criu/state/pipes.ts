import { open } from 'node:fs/promises';
import type { PipeContent } from '../../../target/index.ts';
import { ImageFile } from '../image-file.ts';
import { readFully } from '../read-fully.ts';
import type { DumpImages } from './dump-images.ts';
import { base64 } from './numbers.ts';

/** The most that a state takes of all pipes together: what is more stays in the images that are kept. */
const MAX_UNREAD_BYTES = 16 * 1024 * 1024;
/** PIPE_DEF_BUFFERS pages: the capacity of a pipe whose size is not recorded. */
const USUAL_CAPACITY_BYTES = 65_536;

/** Where the bytes of a pipe lie in an image. */
interface PipePlace {
  readonly pipeId: number;
  readonly capacityBytes: number;
  readonly offsetBytes: number;
  readonly bytes: number;
}

/**
 * What lies unread in pipes and FIFOs, by their ids.
 * @returns also whether everything was taken
 * @throws IntegrityError
 */
export async function readPipes(
  images: DumpImages,
): Promise<{ readonly contents: ReadonlyMap<number, PipeContent>; readonly complete: boolean }> {
  const contents = new Map<number, PipeContent>();
  let left = MAX_UNREAD_BYTES;
  let complete = true;
  for (const name of ['pipes-data', 'fifo-data']) {
    if (!(await images.has(name))) continue;
    const path = images.path(name);
    const places = await placesIn(path);
    const file = await open(path);
    try {
      for (const { pipeId, capacityBytes, offsetBytes, bytes } of places) {
        complete &&= bytes <= left;
        if (bytes > left) continue;
        left -= bytes;
        const unread = Buffer.alloc(bytes);
        await readFully(file, path, unread, offsetBytes);
        contents.set(pipeId, { unread: base64(unread), capacityBytes });
      }
    } finally {
      await file.close();
    }
  }
  return { contents, complete };
}

async function placesIn(path: string): Promise<PipePlace[]> {
  const places: PipePlace[] = [];
  const image = await ImageFile.open(path);
  for await (const { message, payloadOffsetBytes, payloadBytes } of image.entries()) {
    places.push({
      pipeId: Number(message['pipe_id']),
      capacityBytes: Number(message['size'] ?? USUAL_CAPACITY_BYTES),
      offsetBytes: payloadOffsetBytes,
      bytes: payloadBytes,
    });
  }
  return places;
}
