import { describe, expect, it } from 'vitest';
import { SharedBuffers } from '../../src/codec/index.ts';

describe('SharedBuffers', () => {
  it('lends shared memory, as many as it has, and makes the next wait', async () => {
    const buffers = new SharedBuffers(2, 8192);
    const first = await buffers.take();
    const second = await buffers.take();
    expect(first.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(first.length).toBe(8192);
    expect(first.buffer).not.toBe(second.buffer);
    let third: Uint8Array | undefined;
    const waiting = buffers.take().then((buffer) => {
      third = buffer;
    });
    await Promise.resolve();
    expect(third).toBeUndefined();
    buffers.give(second);
    await waiting;
    expect(third).toBe(second);
    expect(buffers.idleCount).toBe(0);
    buffers.give(first);
    expect(buffers.idleCount).toBe(1);
  });

  it('refuses what it did not lend', async () => {
    const buffers = new SharedBuffers(1, 4096);
    const buffer = await buffers.take();
    expect(() => buffers.give(new Uint8Array(4096))).toThrow(RangeError);
    buffers.give(buffer);
    expect(() => buffers.give(buffer)).toThrow(RangeError);
  });
});
