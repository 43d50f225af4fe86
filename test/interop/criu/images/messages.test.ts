import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type MessageFields, messagesOf } from '../../../../src/interop/criu/images/messages.ts';
import { entry, image, mmImage, VMA_STATUS } from '../image-encoder.ts';
import { nested, number, numbers } from '../protobuf.ts';

let work = '';
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-messages-'));
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

async function read(content: Uint8Array, kind: string): Promise<MessageFields[]> {
  const path = join(work, 'some.img');
  writeFileSync(path, content);
  return messagesOf(path, kind);
}

const status = VMA_STATUS.regular | VMA_STATUS.anonymousPrivate;

describe('the messages of an image', () => {
  it('give their fields by type', async () => {
    const [mm] = await read(mmImage([{ startPage: 0x400, endPage: 0x403, status }]), 'MM');
    const [vma] = mm!.messages('vmas');
    expect(vma!.big('start')).toBe(0x400000n);
    expect(vma!.number('end')).toBe(0x403000);
    expect(mm!.bigs('mm_saved_auxv').slice(0, 2)).toEqual([6n, 4096n]);
    expect(mm!.optionalNumber('thp_disabled')).toBeUndefined();
    expect(mm!.flag('thp_disabled')).toBe(false);
    expect(mm!.message('aios')).toBeUndefined();
    expect(mm!.has('dumpable')).toBe(true);
  });

  it('say where a field is not as it was asked for', async () => {
    const [mm] = await read(mmImage([{ startPage: 0x400, endPage: 0x403, status }]), 'MM');
    const place = `${join(work, 'some.img')} is damaged at byte 8: its`;
    expect(() => mm!.number('thp_disabled')).toThrow(`${place} thp_disabled is missing`);
    expect(() => mm!.text('exe_file_id')).toThrow(`${place} exe_file_id is no text`);
    expect(() => mm!.flag('exe_file_id')).toThrow(`${place} exe_file_id is no yes or no`);
    expect(() => mm!.messages('exe_file_id')).toThrow(`${place} exe_file_id is no list`);
    expect(() => mm!.message('exe_file_id')).toThrow(`${place} exe_file_id is no message`);
    expect(() => mm!.numbers('vmas')).toThrow(`${place} vmas is no number that can be`);
  });

  it('are exact beyond 2^53 as bigints, and refused as numbers', async () => {
    const huge = 2n ** 60n + 1n;
    const [core] = await read(
      image(0x55053847, entry(number(1, 1), nested(5, number(1, huge), number(2, 24)))),
      'CORE',
    );
    const thread = core!.message('thread_core')!;
    expect(thread.big('futex_rla')).toBe(huge);
    expect(() => thread.number('futex_rla')).toThrow('is no number that can be');
    expect(core!.text('mtype')).toBe('X86_64');
  });

  it('must be of the kind that was asked for', async () => {
    await expect(read(mmImage([]), 'CORE')).rejects.toThrow('at byte 0: it is an image MM and no CORE');
  });

  it('are refused where they would fill the memory', async () => {
    const long = image(0x57492820, entry(Buffer.alloc(17 << 20)));
    await expect(read(long, 'MM')).rejects.toThrow('damaged at byte 8: a message of 17825792 bytes');
    const one = entry(numbers(1, 0, 1, 3), nested(99, Buffer.alloc(1 << 20)));
    const many = image(0x56213732, ...Array.from({ length: 34 }, () => one));
    await expect(read(many, 'FDINFO')).rejects.toThrow(/damaged at byte \d{8}: no image FDINFO is so long/);
  });
});
