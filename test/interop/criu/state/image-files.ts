import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type MessageFields, messagesOf } from '../../../../src/interop/criu/images/messages.ts';
import { image } from '../image-encoder.ts';

/** Magics of kinds, as `image` takes them. */
export const MAGIC = { CORE: 0x55053847, MM: 0x57492820 } as const;

/** The first entry of an image of the given entries, as the code under test reads it. */
export async function readEntry(kind: keyof typeof MAGIC, ...entries: Uint8Array[]): Promise<MessageFields> {
  const directory = mkdtempSync(join(tmpdir(), 'ckpt-state-'));
  try {
    const path = join(directory, 'entries.img');
    writeFileSync(path, image(MAGIC[kind], ...entries));
    const [first] = await messagesOf(path, kind);
    return first!;
  } finally {
    rmSync(directory, { recursive: true });
  }
}
