import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PeerError } from '../../../src/core/index.ts';
import { Connection } from '../../../src/migration/wire/connection.ts';
import {
  FRAME_TYPES,
  type FrameType,
  frameHeader,
  MAX_FRAME_BYTES,
  MORE_FOLLOWS,
} from '../../../src/migration/wire/frame.ts';
import { encodePayload, PAYLOADS, preamble, TOKEN_BYTES } from '../../../src/migration/wire/handshake.ts';
import { Inbox } from '../../../src/migration/wire/inbox.ts';
import { encodeMessage, MAX_MESSAGE_BYTES } from '../../../src/migration/wire/messages.ts';
import type { Session } from '../../../src/migration/wire/session.ts';
import { SessionTable } from '../../../src/migration/wire/session-table.ts';
import { duplexPair, type PipeEnd } from './duplex-pair.ts';

const WINDOW_BYTES = 4 * 1024 * 1024;
const EMPTY = new Uint8Array(0);
const message = (text: string) => encodeMessage({ type: 'abort', reason: text }).slice();

const frame = (type: FrameType, flags: number, sequence: number, payload: Uint8Array = EMPTY) =>
  Buffer.concat([frameHeader(type, flags, sequence, payload), payload]);
const data = (sequence: number, payload: Uint8Array, flags = 0) =>
  frame(FRAME_TYPES.data, flags, sequence, payload);
const OPEN = frame(
  FRAME_TYPES.open,
  0,
  0,
  encodePayload(PAYLOADS.open, { windowBytes: WINDOW_BYTES, connections: 4 }),
);

interface Victim {
  /** Opens a connection and sends bytes; gives what came back when all was read, and the connection. */
  say(...pieces: readonly Uint8Array[]): PipeEnd;
  /** As `say`, over a connection that has proved to be somebody's. */
  sayAs(identity: string, ...pieces: readonly Uint8Array[]): PipeEnd;
  /** What the handshakes were refused for. */
  readonly refusals: string[];
  readonly sessions: Session[];
}

/** A listening end, without TCP. */
function victim(): Victim {
  const refusals: string[] = [];
  const sessions: Session[] = [];
  const options = {
    security: { kind: 'insecure' },
    windowBytes: WINDOW_BYTES,
    giveUpMicroseconds: 20_000,
  } as const;
  const table = new SessionTable(options, (session) => sessions.push(session));
  function sayAs(identity: string, ...pieces: readonly Uint8Array[]): PipeEnd {
    const [near, far] = duplexPair();
    const connection = new Connection(far, 'a hostile peer', (error) => new PeerError(error.message));
    const listen = async () => {
      await connection.preambleArrived();
      connection.sendPreamble();
      await table.admit(connection, identity);
    };
    listen().catch((error: unknown) => {
      if (!(error instanceof PeerError)) throw error;
      refusals.push(error.message);
      far.destroy();
    });
    near.resume();
    for (const piece of pieces) near.write(piece);
    return near;
  }
  return { refusals, sessions, sayAs, say: (...pieces) => sayAs('', ...pieces) };
}

/** What a session that was opened properly fails with when it is told these frames. */
async function failureOf(...frames: readonly Uint8Array[]): Promise<string> {
  const { say, sessions } = victim();
  say(preamble(), OPEN, Buffer.concat(frames));
  await expect.poll(() => sessions.length, { interval: 1 }).toBe(1);
  try {
    while ((await sessions[0]!.receive()) !== undefined);
    return 'nothing';
  } catch (error) {
    expect(error).toBeInstanceOf(PeerError);
    return (error as Error).message;
  }
}

describe('an other end that means no good', () => {
  it.each<[string, Uint8Array[], RegExp]>([
    ['a message without a number', [data(0, message('a'))], /without a sequence number/],
    ['unknown flags', [data(1, message('a'), 2)], /unknown flags 2/],
    ['an end with flags', [frame(FRAME_TYPES.end, MORE_FOLLOWS, 1)], /unknown flags 1/],
    ['a message after the end', [frame(FRAME_TYPES.end, 0, 1), data(2, message('a'))], /after its last one/],
    [
      'a message before the end that comes after it',
      [data(2, message('a')), frame(FRAME_TYPES.end, 0, 1)],
      /after its last one/,
    ],
    [
      'an end inside a message',
      [data(1, new Uint8Array(MAX_FRAME_BYTES), MORE_FOLLOWS), frame(FRAME_TYPES.end, 0, 2)],
      /in the middle of a message/,
    ],
    ['a small piece of a message', [data(1, message('a'), MORE_FOLLOWS)], /a piece of a message of/],
    ['an unknown message', [data(1, new Uint8Array([250]))], /unknown type 250/],
    ['no message', [data(1, EMPTY)], /unknown type \(none\)/],
    ['a broken message', [data(1, message('abc').subarray(0, 3))], /'abort' from the other end/],
    [
      'an acknowledgement of what was never sent',
      [
        frame(
          FRAME_TYPES.acknowledgement,
          0,
          0,
          encodePayload(PAYLOADS.acknowledgement, { received: 9, credit: 1 }),
        ),
      ],
      /acknowledged frame 8, but only 0 were sent/,
    ],
    [
      'a broken acknowledgement',
      [frame(FRAME_TYPES.acknowledgement, 0, 0, new Uint8Array(1))],
      /an acknowledgement from the other end/,
    ],
    ['a long heartbeat', [frame(FRAME_TYPES.ping, 0, 0, new Uint8Array(9))], /heartbeat of 9 bytes/],
    [
      'an answer from the future',
      [frame(FRAME_TYPES.pong, 0, 0, Buffer.from('ffffffffffffef7f', 'hex'))],
      /never sent/,
    ],
    ['a second handshake', [OPEN], /after the handshake/],
    ['the end of what it cannot end', [frame(FRAME_TYPES.finished, 0, 0)], /only this end can end/],
  ])('is refused for %s', async (_, frames, expected) => {
    expect(await failureOf(...frames)).toMatch(expected);
  });

  it('cannot have more held for it than its window, in order or not', async () => {
    const payload = new Uint8Array(512 * 1024);
    // The first frame never comes, so all others wait for it.
    const tooMany = Array.from({ length: 9 }, (_, index) => data(index + 2, payload));
    expect(await failureOf(...tooMany)).toContain(`more than the ${WINDOW_BYTES} bytes`);
    const small = Array.from({ length: WINDOW_BYTES / 256 + 1 }, (_, index) => data(index + 2, EMPTY));
    expect(await failureOf(Buffer.concat(small))).toContain(`more than the ${WINDOW_BYTES} bytes`);
  });

  it('cannot send a message without end', () => {
    const inbox = new Inbox(WINDOW_BYTES);
    const payload = new Uint8Array(MAX_FRAME_BYTES);
    const takePiece = (sequence: number) => {
      inbox.add({ type: FRAME_TYPES.data, flags: MORE_FOLLOWS, sequence, payload });
      return inbox.take();
    };
    const most = MAX_MESSAGE_BYTES / MAX_FRAME_BYTES;
    for (let sequence = 1; sequence <= most; sequence++) expect(takePiece(sequence)).toBeUndefined();
    expect(() => takePiece(most + 1)).toThrow(`a message of more than ${MAX_MESSAGE_BYTES} bytes`);
  });

  it('cannot make answers pile up that it does not read', async () => {
    const { say, sessions } = victim();
    const near = say(preamble(), OPEN);
    await expect.poll(() => sessions.length, { interval: 1 }).toBe(1);
    near.pause();
    const pings = Buffer.concat(
      Array.from({ length: 1000 }, () => frame(FRAME_TYPES.ping, 0, 0, new Uint8Array(8))),
    );
    for (let count = 0; count < 100; count++) near.write(pings);
    await expect.poll(() => near.writableLength, { interval: 5 }).toBe(0);
    // 3.2 MB of answers were asked for.
    expect(near.other?.writableLength).toBeLessThan(1.1 * 1024 * 1024);
    sessions[0]!.abort(new PeerError('enough'));
  });

  it('is served once for what it sends twice', async () => {
    const { say, sessions } = victim();
    const one = data(1, message('one'));
    const two = data(2, message('two'));
    say(preamble(), OPEN, two, one, one, two, data(1, message('not one')), frame(FRAME_TYPES.end, 0, 3), one);
    await expect.poll(() => sessions.length, { interval: 1 }).toBe(1);
    expect(await sessions[0]!.receive()).toMatchObject({ reason: 'one' });
    expect(await sessions[0]!.receive()).toMatchObject({ reason: 'two' });
    expect(await sessions[0]!.receive()).toBeUndefined();
  });

  it('cannot guess its way into a session', async () => {
    const { say, sessions, refusals } = victim();
    say(preamble(), OPEN);
    await expect.poll(() => sessions.length, { interval: 1 }).toBe(1);
    const token = new Uint8Array(TOKEN_BYTES);
    const join = (slot: number) => encodePayload(PAYLOADS.join, { token, slot, received: 1, credit: 1 });
    say(preamble(), frame(FRAME_TYPES.join, 0, 0, join(1)));
    await expect.poll(() => refusals.length, { interval: 1 }).toBe(1);
    expect(refusals[0]).toContain('does not know this migration');
    sessions[0]!.abort(new PeerError('enough'));
  });

  it('cannot join a session with the token of somebody else', async () => {
    const { sayAs, sessions, refusals } = victim();
    let heard = Buffer.alloc(0);
    sayAs('alice', preamble(), OPEN).on('data', (chunk) => {
      heard = Buffer.concat([heard, chunk]);
    });
    await expect.poll(() => heard.length, { interval: 1 }).toBeGreaterThan(16 + 24 + 1 + TOKEN_BYTES);
    // Behind the preamble, the header of `accept` and the length.
    const token = heard.subarray(16 + 24 + 1, 16 + 24 + 1 + TOKEN_BYTES);
    const join = encodePayload(PAYLOADS.join, { token, slot: 1, received: 1, credit: WINDOW_BYTES });
    const said = data(1, message('who am I'));
    sayAs('mallory', preamble(), frame(FRAME_TYPES.join, 0, 0, join), said);
    await expect.poll(() => refusals.length, { interval: 1 }).toBe(1);
    expect(refusals[0]).toContain('does not know this migration');
    sayAs('alice', preamble(), frame(FRAME_TYPES.join, 0, 0, join), said);
    expect(await sessions[0]!.receive()).toMatchObject({ reason: 'who am I' });
    expect(sessions).toHaveLength(1);
    sessions[0]!.abort(new PeerError('enough'));
  });

  it('finds nothing in a handshake to make it hang or fall', async () => {
    const good = Buffer.concat([preamble(), OPEN, data(1, message('one')), frame(FRAME_TYPES.end, 0, 2)]);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
        fc.nat(good.length),
        fc.uint8Array({ maxLength: 60 }),
        async (changes, length, more) => {
          const bytes = Buffer.from(good);
          for (const [at, value] of changes) bytes[at] = value;
          await expectToEnd(Buffer.concat([bytes.subarray(0, length), more]));
        },
      ),
      { numRuns: 150 },
    );
  });

  it('finds no sequence of frames to make a session hang or fall', async () => {
    const arbitraryFrame = fc
      .record({
        type: fc.oneof(
          { weight: 4, arbitrary: fc.constant<FrameType>(FRAME_TYPES.data) },
          { weight: 1, arbitrary: fc.constantFrom<FrameType>(...Object.values(FRAME_TYPES)) },
        ),
        flags: fc.constantFrom(0, 0, 0, 1, 255),
        sequence: fc.oneof(fc.integer({ min: 0, max: 5 }), fc.maxSafeNat()),
        payload: fc.oneof(
          fc.string({ maxLength: 5 }).map((text) => Uint8Array.from(message(text))),
          fc.uint8Array({ maxLength: 40 }),
        ),
      })
      .map(({ type, flags, sequence, payload }) => frame(type, flags, sequence, payload));
    await fc.assert(
      fc.asyncProperty(fc.array(arbitraryFrame, { maxLength: 10 }), (frames) =>
        expectToEnd(Buffer.concat([preamble(), OPEN, ...frames])),
      ),
      { numRuns: 150 },
    );
  });
});

/** Whatever is said, after it the connection ends, and with it every session in a short time. */
async function expectToEnd(bytes: Uint8Array): Promise<void> {
  const { say, sessions } = victim();
  const near = say(bytes);
  await new Promise((resolve) => setImmediate(resolve));
  near.destroy();
  for (const session of sessions) {
    for (let messages = 0; messages < 20; messages++) {
      const got = await session.receive().catch((error: unknown) => {
        expect(error).toBeInstanceOf(PeerError);
        return undefined;
      });
      if (got === undefined) break;
    }
    session.abort(new PeerError('enough'));
    expect(session.over).toBe(true);
  }
}
