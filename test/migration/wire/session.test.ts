import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PageRangeList, PeerError } from '../../../src/core/index.ts';
import type { Channel } from '../../../src/migration/wire/channel.ts';
import type { Message } from '../../../src/migration/wire/messages.ts';
import { arbitraryMessage, asSent } from './arbitrary-message.ts';
import type { WireFaults } from './duplex-pair.ts';
import { type SessionPairOptions, sessionPair } from './session-pair.ts';

const round = (number: number): Message => ({ type: 'round', number, final: false });

function pages(number: number, bytes: number): Message {
  const ranges = PageRangeList.of({ startPage: number, endPage: number + 1 });
  return {
    type: 'pages',
    pid: number,
    ranges,
    encoding: 'raw',
    checksum: 0,
    bytes: new Uint8Array(bytes).fill(number),
  };
}

/** A message so long that it takes several frames. */
function longMessage(pathnameBytes: number): Message {
  const vma = {
    startPage: 1,
    endPage: 2,
    read: true,
    write: false,
    execute: false,
    shared: false,
    offsetPages: 0,
    deviceMajor: 8,
    deviceMinor: 1,
    inode: 77,
    pathname: 'p'.repeat(60_000),
    flags: ['rd', 'mr'],
  };
  const vmas = Array.from({ length: Math.ceil(pathnameBytes / 60_000) }, () => vma);
  return { type: 'mappings', pid: 1, parentPid: 0, name: 'a', fingerprint: undefined, vmas };
}

async function sendAll(channel: Channel, messages: readonly Message[]): Promise<void> {
  for (const message of messages) await channel.send(message);
  await channel.close();
}

async function receiveAll(channel: Channel): Promise<Message[]> {
  const messages: Message[] = [];
  for await (const message of channel) messages.push(message);
  return messages;
}

/** Sends messages both ways at the same time, and expects that they arrive: all of them, once, in order. */
async function expectDelivery(
  options: SessionPairOptions,
  there: readonly Message[],
  back: readonly Message[],
): Promise<void> {
  const { first, second } = await sessionPair(options);
  const [gotThere, gotBack] = await Promise.all([
    receiveAll(second),
    receiveAll(first),
    sendAll(first, there),
    sendAll(second, back),
  ]);
  expect(gotThere.map(asSent)).toEqual(there.map(asSent));
  expect(gotBack.map(asSent)).toEqual(back.map(asSent));
}

describe('a session', () => {
  it('delivers any messages in order, over any number of connections', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(arbitraryMessage, { maxLength: 12 }),
        fc.array(arbitraryMessage, { maxLength: 5 }),
        fc.integer({ min: 1, max: 4 }),
        (there, back, connections) => expectDelivery({ connections }, there, back),
      ),
      { numRuns: 60 },
    );
  });

  it('delivers each message once although connections break anywhere', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(arbitraryMessage, { minLength: 1, maxLength: 12 }),
        fc.array(arbitraryMessage, { maxLength: 5 }),
        fc.integer({ min: 1, max: 3 }),
        fc.array(fc.integer({ min: 0, max: 700 }), { minLength: 1, maxLength: 12 }),
        (there, back, connections, cuts) => {
          const faults = cuts.map((cutAfterBytes): WireFaults => ({ cutAfterBytes }));
          return expectDelivery({ connections, faults }, there, back);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('goes on at the right place wherever between two bytes a connection breaks', async () => {
    const messages = [round(1), pages(2, 30), round(3)];
    for (let cutAfterBytes = 0; cutAfterBytes < 260; cutAfterBytes++) {
      await expectDelivery({ faults: [{ cutAfterBytes }] }, messages, [round(9)]);
    }
  });

  it('sends again what arrived damaged', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 400 }),
        fc.integer({ min: 1, max: 255 }),
        (damagedAt, flip) => {
          const alter = (byte: number, position: number) => (position === damagedAt ? byte ^ flip : byte);
          return expectDelivery(
            { faults: [{ alter }] },
            [pages(1, 100), pages(2, 100), round(3)],
            [round(4)],
          );
        },
      ),
      { numRuns: 60 },
    );
  });

  it('carries a message that takes many frames, larger than the window', async () => {
    const message = longMessage(6 * 1024 * 1024);
    await expectDelivery({ connections: 2 }, [round(1), message, round(2)], []);
  });

  it('lets the sender run ahead of a slow reader by the window and no more', async () => {
    const windowBytes = 4 * 1024 * 1024;
    const { first, second } = await sessionPair({ windowBytes });
    let taken = 0;
    const sending = (async () => {
      for (let number = 0; number < 64; number++) {
        await first.send(pages(number, 256 * 1024));
        taken++;
      }
      await first.close();
    })();
    await new Promise((resolve) => setTimeout(resolve, 50));
    // Nothing was read: a window full of messages is on its way, and the rest waits at the sender.
    expect(taken).toBe(Math.floor(windowBytes / (256 * 1024 + 300)));
    expect(first.sentBytes).toBeLessThanOrEqual(windowBytes);
    expect((await second.receive())?.type).toBe('pages');
    const rest = await receiveAll(second);
    expect(rest).toHaveLength(63);
    void second.close();
    await sending;
    expect(first.unacknowledgedBytes).toBe(0);
    expect(second.receivedBytes).toBe(first.sentBytes);
  });

  it('spreads a stream over its connections', async () => {
    const { first, second, wires } = await sessionPair({ connections: 3 });
    const reading = receiveAll(second);
    await sendAll(
      first,
      Array.from({ length: 60 }, (_, number) => pages(number, 100_000)),
    );
    await second.close();
    await reading;
    for (const { deliveredBytes } of wires) expect(deliveredBytes).toBeGreaterThan(1_000_000);
  });

  it('waits in flushed for the other end to have everything', async () => {
    const { first, second } = await sessionPair({ faults: [{ delayMilliseconds: 5 }] });
    await first.send(round(1));
    expect(first.unacknowledgedBytes).toBeGreaterThan(0);
    await first.flushed();
    expect(first.unacknowledgedBytes).toBe(0);
    expect(await second.receive()).toEqual(round(1));
    expect(first.roundTripMicroseconds).toBeGreaterThan(5000);
  });

  it('gives up when no connection can be made any more', async () => {
    const { first, second, events } = await sessionPair({
      faults: [{ cutAfterBytes: 100 }],
      mostConnections: 1,
      giveUpMilliseconds: 30,
    });
    await first.send(pages(1, 1000));
    await expect(first.flushed()).rejects.toThrow(/was lost .* not resumed within 0.03 s/);
    await expect(first.send(round(1))).rejects.toBeInstanceOf(PeerError);
    await expect(second.receive()).rejects.toBeInstanceOf(PeerError);
    expect(events).toEqual(['connection-lost', 'failed']);
  });

  it('gives up on a way on which nothing ever arrives whole', async () => {
    const faults = Array.from({ length: 100 }, (): WireFaults => ({ cutAfterBytes: 500 }));
    const { first } = await sessionPair({ faults });
    await first.send(pages(1, 1000));
    await expect(first.flushed()).rejects.toThrow(/lost \d+ times in a row/);
  });

  it('notices an other end that hangs', async () => {
    const { second } = await sessionPair({
      silenceMilliseconds: 40,
      faults: [{ hangAfterBytes: 0 }],
      mostConnections: 1,
      giveUpMilliseconds: 20,
    });
    await expect(second.receive()).rejects.toThrow(/nothing was heard of the other end for 0\.\d s/);
  });

  it('stays when both ends have nothing to say', async () => {
    const { first, second, events } = await sessionPair({ silenceMilliseconds: 40 });
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(events).toEqual([]);
    await first.send(round(1));
    expect(await second.receive()).toEqual(round(1));
  });

  it('tells the other end why it was aborted', async () => {
    const { first, second } = await sessionPair();
    const waiting = expect(second.receive()).rejects.toThrow(
      'the other end gave up: the target is gone?[31m',
    );
    first.abort(new Error('the target is gone\u001b[31m'));
    await waiting;
    await expect(first.send(round(1))).rejects.toThrow('the target is gone');
  });

  it('does not wait for ever for an other end that does not close', async () => {
    const { first, second } = await sessionPair({ silenceMilliseconds: 60, giveUpMilliseconds: 60 });
    await first.close();
    // As long as there is more to hear it listens.
    for (let number = 0; number < 5; number++) {
      await new Promise((resolve) => setTimeout(resolve, 30));
      await second.send(round(number));
      expect(await first.receive()).toEqual(round(number));
    }
    await expect.poll(() => first.over).toBe(true);
    expect(await first.receive()).toBeUndefined();
  });

  it('closes each direction for itself', async () => {
    const { first, second } = await sessionPair();
    await first.send(round(1));
    await first.close();
    expect(await receiveAll(second)).toEqual([round(1)]);
    await second.send(round(2));
    await second.close();
    expect(await receiveAll(first)).toEqual([round(2)]);
    await expect(first.send(round(3))).rejects.toThrow('after the channel was closed');
    expect(first.over && second.over).toBe(true);
  });
});
