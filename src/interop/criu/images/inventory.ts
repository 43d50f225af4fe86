import { join } from 'node:path';
import { UnsupportedError } from '../../../core/index.ts';
import { damaged } from '../damage.ts';
import { UNKNOWN_FIELDS } from '../plain-message.ts';
import { messagesOf } from './messages.ts';

/** What `inventory.img` says of a directory (images/inventory.proto). */
export interface InventoryFacts {
  /** 2 for a dump, 0 for a pre-dump, where CRIU does not set it. */
  readonly imageVersion: number;
  /** 1 splice, 2 read; undefined for a dump. */
  readonly preDumpMode: number | undefined;
  /** Microseconds since the boot of the machine, while the target stood still; with memory tracking only. */
  readonly dumpUptimeMicroseconds: bigint | undefined;
}

/** The newest layout that is known; the next CRIU writes 3 where it compresses pages with LZ4 (PR #2895). */
const NEWEST_IMAGE_VERSION = 2;

/**
 * Reads `inventory.img`.
 * @throws IntegrityError; UnsupportedError for images of a later layout.
 */
export async function readInventory(directory: string): Promise<InventoryFacts> {
  const path = join(directory, 'inventory.img');
  const [message, ...more] = await messagesOf(path, 'INVENTORY');
  if (message === undefined || more.length > 0) {
    const what = message === undefined ? 'it is empty' : 'it has several entries';
    throw damaged({ path, offsetBytes: 4 }, what);
  }
  const imageVersion = message.number('img_version');
  if (imageVersion > NEWEST_IMAGE_VERSION) throw later(path, imageVersion, message.has(UNKNOWN_FIELDS));
  return {
    imageVersion,
    preDumpMode: message.optionalNumber('pre_dump_mode'),
    dumpUptimeMicroseconds: message.optionalBig('dump_uptime'),
  };
}

function later(path: string, imageVersion: number, hasMore: boolean): UnsupportedError {
  const compressed = imageVersion === NEWEST_IMAGE_VERSION + 1 && hasMore;
  return new UnsupportedError(
    compressed
      ? `${path}: the pages of these images are compressed with LZ4 (img_version ${imageVersion})`
      : `${path}: images of version ${imageVersion} are not known here`,
    {
      hint: compressed
        ? "'crit decompress' of the CRIU that wrote them makes them plain"
        : 'ckpt knows those up to 2',
      data: { path, imageVersion },
    },
  );
}
