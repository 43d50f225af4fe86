import { ADDRESS_SPACE_PAGES } from '../../../image/index.ts';
import { PAGE_FLAGS } from '../page-server/protocol.ts';

/** Fields of one pagemap_entry (images/pagemap.proto), decoded in place: a process may have millions of them. */
export interface DecodedEntry {
  startPage: number;
  pageCount: number;
  flags: number;
}

const PAGE_BITS = 12;
const LOW_BITS = 28;
const LOW_LIMIT = 2 ** LOW_BITS;

/** Of field numbers below 8: which ones have been there. */
const SEEN_ADDRESS = 1 << 1;
const SEEN_OLD_COUNT = 1 << 2;
const SEEN_FLAGS = 1 << 4;
const SEEN_COUNT = 1 << 5;

/** Decodes pagemap entries one after another. What it throws is an Error whose message says what is wrong. */
export class PagemapEntryDecoder {
  readonly entry: DecodedEntry = { startPage: 0, pageCount: 0, flags: 0 };
  /** Whether the last entry has blocks of compressed pages, which the CRIU after 4.2 writes. */
  isCompressed = false;
  #bytes: Uint8Array = new Uint8Array();
  #at = 0;
  #end = 0;
  /** The last varint: its low 28 bits and the 36 above. */
  #low = 0;
  #high = 0;

  /**
   * Decodes the message in `start`..`end` into `entry`, its flags as CRIU understands them (criu/pagemap.c).
   * @throws Error if it is no pagemap entry or says what cannot be.
   */
  decode(bytes: Uint8Array, start: number, end: number): void {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    this.isCompressed = false;
    let seen = 0;
    let isInParent = false;
    let oldCount = 0;
    let count = 0;
    const { entry } = this;
    while (this.#at < this.#end) {
      this.#varint();
      const field = Math.floor(this.#value() / 8);
      const wireType = this.#low & 7;
      if (field === 6) this.isCompressed = true;
      if (field < 1 || field > 5) {
        this.#skip(wireType);
        continue;
      }
      if (wireType !== 0) throw new Error(`field ${field} has the wire type ${wireType}`);
      this.#varint();
      seen |= 1 << field;
      if (field === 1) entry.startPage = this.#page();
      else if (field === 2) oldCount = this.#value();
      else if (field === 3) isInParent = this.#value() !== 0;
      else if (field === 4) entry.flags = this.#value();
      else count = this.#value();
    }
    if ((seen & SEEN_ADDRESS) === 0) throw new Error('it has no address');
    if ((seen & SEEN_OLD_COUNT) === 0) throw new Error('it has no compat_nr_pages');
    if ((seen & SEEN_COUNT) === 0) count = oldCount;
    else if (oldCount !== 0 && oldCount !== count) throw new Error(`it has ${oldCount} pages, and ${count}`);
    if (isInParent) entry.flags = PAGE_FLAGS.parent | ((seen & SEEN_FLAGS) === 0 ? 0 : entry.flags);
    else if ((seen & SEEN_FLAGS) === 0) entry.flags = PAGE_FLAGS.present;
    entry.pageCount = count;
    if (count === 0) throw new Error('it has no pages');
    if (entry.startPage + count > ADDRESS_SPACE_PAGES)
      throw new Error(`its ${count} pages go beyond all addresses`);
  }

  /** Decodes a pagemap_head. @returns the number of the pages file @throws as `decode` */
  decodeHead(bytes: Uint8Array, start: number, end: number): number {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    let pagesId: number | undefined;
    while (this.#at < this.#end) {
      this.#varint();
      const field = Math.floor(this.#value() / 8);
      if (field !== 1 || (this.#low & 7) !== 0) {
        this.#skip(this.#low & 7);
        continue;
      }
      this.#varint();
      pagesId = this.#value();
    }
    if (pagesId === undefined) throw new Error('it has no pages_id');
    if (pagesId > 0xffffffff) throw new Error(`its pages_id ${pagesId} is no 32-bit number`);
    return pagesId;
  }

  #varint(): void {
    let low = 0;
    let high = 0;
    let scale = 1;
    for (let index = 0; ; index++) {
      if (this.#at >= this.#end) throw new Error('a number in it is cut off');
      const byte = this.#bytes[this.#at++]!;
      if (index === 9 && byte > 1) throw new Error('a number in it has more than 64 bits');
      if (index < 4) low += (byte & 0x7f) * scale;
      else high += (byte & 0x7f) * scale;
      scale = index === 3 ? 1 : scale * 128;
      if (byte < 0x80) break;
    }
    this.#low = low;
    this.#high = high;
  }

  /** Exact up to 2^53, and larger than any sensible number above. */
  #value(): number {
    return this.#high * LOW_LIMIT + this.#low;
  }

  #page(): number {
    if ((this.#low & (2 ** PAGE_BITS - 1)) !== 0) throw new Error('its address is not that of a page');
    return this.#high * 2 ** (LOW_BITS - PAGE_BITS) + (this.#low >>> PAGE_BITS);
  }

  #skip(wireType: number): void {
    if (wireType === 0) this.#varint();
    else if (wireType === 1) this.#at += 8;
    else if (wireType === 5) this.#at += 4;
    else if (wireType === 2) {
      this.#varint();
      this.#at += this.#value();
    } else throw new Error(`a field has the wire type ${wireType}`);
    if (this.#at > this.#end) throw new Error('a field is cut off');
  }
}
