import fc from 'fast-check';
import { PageRangeList } from '../../../src/core/index.ts';
import type { Shape } from '../../../src/migration/wire/fields.ts';
import {
  decodeMessage,
  encodeMessage,
  formatOf,
  MESSAGE_TYPES,
  type Message,
  type MessageType,
} from '../../../src/migration/wire/messages.ts';

const SMALL_LIST = 6;

/** Values that fit a shape, small ones mostly. */
export function arbitraryOf(shape: Shape): fc.Arbitrary<unknown> {
  switch (shape.kind) {
    case 'integer':
      return fc.oneof(
        fc.integer({ min: 0, max: Math.min(200, shape.greatest) }),
        fc.maxSafeNat().map((value) => value % (shape.greatest + 1)),
        fc.constant(shape.greatest),
      );
    case 'flag':
      return fc.boolean();
    case 'text':
      return fc.string({ unit: 'grapheme', maxLength: Math.min(20, Math.floor(shape.mostBytes / 40)) });
    case 'bytes':
      return fc.uint8Array({ maxLength: Math.min(300, shape.mostBytes) });
    case 'choice':
      return fc.constantFrom(...shape.words);
    case 'ranges':
      return arbitraryRanges();
    case 'optional':
      return fc.option(arbitraryOf(shape.inner), { nil: undefined });
    case 'list':
      return fc.array(arbitraryOf(shape.item), { maxLength: Math.min(SMALL_LIST, shape.most) });
    case 'record':
      return fc.record(
        Object.fromEntries(Object.entries(shape.fields).map(([name, field]) => [name, arbitraryOf(field)])),
      );
  }
}

function arbitraryRanges(): fc.Arbitrary<PageRangeList> {
  const run = fc.tuple(fc.integer({ min: 1, max: 2 ** 40 }), fc.integer({ min: 1, max: 5000 }));
  return fc.array(run, { maxLength: SMALL_LIST }).map((runs) => {
    const ranges = new PageRangeList();
    let at = 0;
    for (const [gap, pages] of runs) {
      ranges.append(at + gap, at + gap + pages);
      at += gap + pages;
    }
    return ranges;
  });
}

/** A message of any type. */
export const arbitraryMessage: fc.Arbitrary<Message> = fc
  .constantFrom(...MESSAGE_TYPES)
  .chain((type) => arbitraryMessageOf(type));

export function arbitraryMessageOf(type: MessageType): fc.Arbitrary<Message> {
  // The shape of a type describes the fields of that type.
  return arbitraryOf(formatOf(type).shape).map((fields) => ({ type, ...(fields as object) }) as Message);
}

/** Messages compare by what they are on the wire: ranges and views of bytes have no fields to compare. */
export const asSent = (message: Message) => Buffer.from(encodeMessage(message)).toString('base64');

/** A message as it arrives. */
export const throughTheWire = (message: Message) => decodeMessage(encodeMessage(message));
