import { truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PAGE_SIZE } from '../../../src/core/index.ts';
import { openImageDirectory } from '../../../src/interop/criu/images/directory.ts';
import { readFully } from '../../../src/interop/criu/read-fully.ts';
import { memoryOfImages } from '../../../src/interop/criu/state/memory-of-images.ts';
import { patternPage } from '../../checkpoint/memory-target.ts';
import { temporaryDirectory } from '../../store/harness.ts';
import { writeImageDirectory } from './image-directory.ts';

describe('reading of what must be there', () => {
  it('gives all of it, also where the system gives it in parts', async () => {
    using directory = temporaryDirectory();
    const path = join(directory.path, 'file');
    writeFileSync(path, 'twelve bytes');
    const file = await open(path);
    try {
      const read: typeof file.read = file.read.bind(file);
      const stingy = new Proxy(file, {
        get: (target, name) =>
          name === 'read'
            ? (into: Uint8Array, at: number, length: number, from: number) =>
                read(into, at, Math.min(5, length), from)
            : Reflect.get(target, name),
      });
      const into = Buffer.alloc(6);
      await readFully(stingy, path, into, 4);
      expect(into.toString()).toBe('ve byt');
      await expect(readFully(file, path, Buffer.alloc(6), 8)).rejects.toMatchObject({
        code: 'integrity',
        data: { path, offset: 12 },
      });
    } finally {
      await file.close();
    }
  });

  it('does not take for zeros what a pages file no longer has', async () => {
    using directory = temporaryDirectory();
    const entries = [{ startPage: 16, pageCount: 2, flags: 4 }];
    await writeImageDirectory(directory.path, { processes: [{ pid: 1, entries, content: patternPage }] });
    const images = await openImageDirectory(directory.path);
    const read = memoryOfImages([images]);
    expect(Buffer.from((await read(1, 17 * PAGE_SIZE, 8)) ?? [])).toEqual(
      Buffer.from(patternPage(17).subarray(0, 8)),
    );
    truncateSync(images.memories[0]?.pagesPath ?? '', PAGE_SIZE);
    await expect(read(1, 17 * PAGE_SIZE, 8)).rejects.toThrow(/pages-1\.img cannot be read at byte 4096/);
    await expect(openImageDirectory(directory.path)).rejects.toMatchObject({
      message: expect.stringMatching(/pages-1\.img is damaged at byte 4096: it has 4096 bytes/),
      hint: 'copy it again from where CRIU wrote it',
    });
  });
});
