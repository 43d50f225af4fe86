import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PeerError } from '../../../src/core/index.ts';
import {
  DamagedFrameError,
  FRAME_HEADER_BYTES,
  FRAME_TYPES,
  type Frame,
  FrameDecoder,
  type FrameType,
  frameHeader,
  MAX_CONTROL_BYTES,
  MAX_FRAME_BYTES,
} from '../../../src/migration/wire/frame.ts';

function encode({ type, flags, sequence, payload }: Frame): Buffer {
  return Buffer.concat([frameHeader(type, flags, sequence, payload), payload]);
}

/** Decodes a stream that arrives in the given pieces. */
function decode(pieces: readonly Uint8Array[]): Frame[] {
  const decoder = new FrameDecoder();
  decoder.handshaking = false;
  const frames: Frame[] = [];
  for (const piece of pieces) {
    for (let offset = 0; offset < piece.length; ) {
      const taken = decoder.take(piece, offset);
      offset = taken.offset;
      if (taken.frame !== undefined) frames.push(taken.frame);
    }
  }
  return frames;
}

const arbitraryFrame: fc.Arbitrary<Frame> = fc.record({
  type: fc.constantFrom<FrameType>(FRAME_TYPES.data, FRAME_TYPES.end, FRAME_TYPES.ping, FRAME_TYPES.failure),
  flags: fc.integer({ min: 0, max: 255 }),
  sequence: fc.maxSafeNat(),
  payload: fc.uint8Array({ maxLength: 100 }),
});

/** A header with a right checksum, whatever it says. */
function headerSaying(change: (view: DataView) => void): Buffer {
  const header = Buffer.from(frameHeader(FRAME_TYPES.data, 0, 1, new Uint8Array(0)));
  change(new DataView(header.buffer, header.byteOffset));
  // The checksum of a header that was changed: that of an equal prefix, made by the encoder's own function.
  return Buffer.concat([header.subarray(0, 20), checksumOf(header.subarray(0, 20))]);
}

function checksumOf(bytes: Uint8Array): Buffer {
  const sum = Buffer.alloc(4);
  // A payload's checksum stands at 16 of its header.
  const header = frameHeader(FRAME_TYPES.data, 0, 0, bytes);
  sum.set(header.subarray(16, 20));
  return sum;
}

describe('frames', () => {
  it('come out as they went in, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(arbitraryFrame, { maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 90 }), { maxLength: 40 }),
        (frames, cuts) => {
          const stream = Buffer.concat(frames.map(encode));
          const pieces: Buffer[] = [];
          let at = 0;
          for (const cut of cuts) {
            pieces.push(stream.subarray(at, at + cut));
            at += cut;
          }
          pieces.push(stream.subarray(at));
          expect(decode(pieces).map(encode)).toEqual(frames.map(encode));
        },
      ),
    );
  });

  it('are refused if a single bit has changed', () => {
    fc.assert(
      fc.property(arbitraryFrame, fc.nat(), fc.integer({ min: 0, max: 7 }), (frame, at, bit) => {
        const stream = encode(frame);
        stream[at % stream.length]! ^= 1 << bit;
        expect(() => decode([stream])).toThrow(DamagedFrameError);
      }),
    );
  });

  it('of impossible length are refused by their header, before there is room for them', () => {
    const tooLong = headerSaying((view) => view.setUint32(4, MAX_FRAME_BYTES + 1, true));
    expect(() => decode([tooLong])).toThrow(PeerError);
    expect(() => decode([tooLong])).toThrow(`announced a frame of ${MAX_FRAME_BYTES + 1} bytes`);
    const longPing = headerSaying((view) => {
      view.setUint8(0, FRAME_TYPES.ping);
      view.setUint32(4, MAX_CONTROL_BYTES + 1, true);
    });
    expect(() => decode([longPing])).toThrow(`type ${FRAME_TYPES.ping} has at most ${MAX_CONTROL_BYTES}`);
  });

  it('of unknown types or with unknown fields are refused', () => {
    expect(() => decode([headerSaying((view) => view.setUint8(0, 77))])).toThrow('unknown type 77');
    expect(() => decode([headerSaying((view) => view.setUint8(2, 1))])).toThrow('fields that this version');
    expect(() => decode([headerSaying((view) => view.setUint32(12, 0x200000, true))])).toThrow(PeerError);
  });

  it('of a handshake and of a session do not go together', () => {
    const open = headerSaying((view) => view.setUint8(0, FRAME_TYPES.open));
    expect(() => decode([open])).toThrow('after the handshake');
    const data = headerSaying(() => {});
    expect(() => new FrameDecoder().take(data, 0)).toThrow('before the handshake');
  });

  it('have a header of 24 bytes', () => {
    expect(frameHeader(FRAME_TYPES.data, 1, 2 ** 33 + 5, new Uint8Array([9]))).toHaveLength(
      FRAME_HEADER_BYTES,
    );
    expect(
      Buffer.from(frameHeader(FRAME_TYPES.data, 1, 2 ** 33 + 5, new Uint8Array([9]))).toString('hex'),
    ).toMatch(/^01010000010000000500000002000000/);
  });
});
