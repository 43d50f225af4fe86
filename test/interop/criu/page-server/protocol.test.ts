import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PeerError } from '../../../../src/core/index.ts';
import {
  COMMANDS,
  decodeHeader,
  detectLayout,
  encodeHeader,
  HEADER_BYTES,
  objectOf,
  PAGE_FLAGS,
  pagesOf,
  requestedProcess,
} from '../../../../src/interop/criu/page-server/protocol.ts';
import {
  COMMAND,
  encodeHeader as encodeOnWire,
  sharedDestination,
  taskDestination,
  WIRE_LAYOUTS,
} from './wire.ts';

const LAYOUTS = { '3.17': 'old', '4.2': 'new' } as const;

const bytes = (hex: string) => new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'));

/** What CRIU 3.17 sends for process 1234. */
const OPEN2 = bytes('04000000 00000000 0000000000000000 01d2040000000000');
const ADD = bytes('06000600 03000000 0000400000000000 01d2040000000000');
const GET = bytes('07000000 10000000 00000000007f0000 d204000000000000');
const CLOSE = bytes(`23100000 ${'00'.repeat(20)}`);

const anyHeader = fc.record({
  command: fc.nat(0xffff),
  flags: fc.nat(0xffff),
  pageCount: fc.bigInt(0n, 2n ** 32n - 1n),
  address: fc.bigInt(0n, 2n ** 64n - 1n),
  destination: fc.bigInt(0n, 2n ** 64n - 1n),
});

describe('a header of the page server', () => {
  it('is read as CRIU 3.17 writes it', () => {
    expect(decodeHeader(OPEN2, 'old')).toEqual({
      command: COMMANDS.open2,
      flags: 0,
      pageCount: 0n,
      address: 0n,
      destination: (1234n << 8n) | 1n,
    });
    const add = decodeHeader(ADD, 'old');
    expect([add.command, add.flags]).toEqual([COMMANDS.addFlagged, PAGE_FLAGS.present | PAGE_FLAGS.lazy]);
    expect(pagesOf(add)).toEqual({ startPage: 0x400, endPage: 0x403 });
    expect(objectOf(add)).toEqual({ kind: 'task', pid: 1234 });
    expect(requestedProcess(decodeHeader(GET, 'old'))).toBe(1234);
    expect(decodeHeader(CLOSE, 'old').command).toBe(COMMANDS.close);
  });

  it('is written as an encoder writes that shares nothing with it, and read back', () => {
    fc.assert(
      fc.property(anyHeader, fc.constantFrom(...WIRE_LAYOUTS), fc.nat(0xffff_ffff), (header, layout, pad) => {
        const ours = encodeHeader(header, LAYOUTS[layout]);
        const wire = { ...header, pageCount: Number(header.pageCount) };
        expect(Buffer.from(ours)).toEqual(encodeOnWire(layout, wire));
        expect(ours).toHaveLength(HEADER_BYTES[LAYOUTS[layout]]);
        expect(decodeHeader(encodeOnWire(layout, wire, pad), LAYOUTS[layout])).toEqual(header);
      }),
    );
  });

  it('of the old layout has no room for more than 32 bits of pages', () => {
    const header = { command: 6, flags: 4, pageCount: 2n ** 32n, address: 0n, destination: 257n };
    expect(() => encodeHeader(header, 'old')).toThrow(RangeError);
    expect(decodeHeader(encodeHeader(header, 'new'), 'new')).toEqual(header);
  });
});

describe('the layout', () => {
  it('is told from the first message, whatever the padding holds', () => {
    const firsts = fc.oneof(
      fc.record({
        command: fc.constantFrom(COMMAND.open, COMMAND.open2, COMMAND.parent),
        destination: fc.oneof(
          fc.integer({ min: 1, max: 4_194_303 }).map(taskDestination),
          fc.nat().map(sharedDestination),
        ),
      }),
      fc.record({
        command: fc.constant(COMMAND.get),
        pageCount: fc.integer({ min: 1, max: 1024 }),
        address: fc.bigInt(1n, 2n ** 36n).map((page) => page * 4096n),
        destination: fc.bigInt(1n, 4_194_303n),
      }),
    );
    fc.assert(
      fc.property(firsts, fc.constantFrom(...WIRE_LAYOUTS), fc.nat(0xffff_ffff), (first, layout, pad) => {
        const sent = encodeOnWire(layout, first, pad);
        expect(detectLayout(sent.subarray(0, HEADER_BYTES.old))).toBe(LAYOUTS[layout]);
      }),
    );
  });

  it('does not matter where a session is closed at once', () => {
    expect(detectLayout(CLOSE)).toBeUndefined();
    expect(detectLayout(encodeOnWire('4.2', { command: COMMAND.forceClose }, 77))).toBeUndefined();
  });

  it('is nobody’s if a session cannot begin so', () => {
    for (const command of [0, COMMAND.add, COMMAND.hole, COMMAND.addFlags, 8, 0x1022]) {
      expect(() => detectLayout(encodeOnWire('3.17', { command, destination: 257n }))).toThrow(PeerError);
    }
    expect(() => detectLayout(new Uint8Array(Buffer.from('\x16\x03\x01'.padEnd(24, 'x'), 'latin1')))).toThrow(
      'its first word is 0x78010316',
    );
  });
});

describe('what a header is about', () => {
  const of = (destination: bigint) => ({
    command: COMMANDS.open2,
    flags: 0,
    pageCount: 0n,
    address: 0n,
    destination,
  });

  it('is a process or a shared memory object, also as CRIU before 3.3 said it', () => {
    for (const type of [1n, 10n, 11n, 16n, 17n]) {
      expect(objectOf(of((77n << 8n) | type))).toEqual({ kind: 'task', pid: 77 });
    }
    for (const type of [2n, 27n, 28n, 29n, 32n, 33n, 34n]) {
      expect(objectOf(of((0xff_ffff_ffff_ffffn << 8n) | type))).toEqual({
        kind: 'shmem',
        id: '72057594037927935',
      });
    }
    expect(objectOf(of(sharedDestination(0)))).toEqual({ kind: 'shmem', id: '0' });
  });

  it('is nothing else, and no process that cannot be', () => {
    for (const type of [0n, 3n, 12n, 255n]) expect(() => objectOf(of((77n << 8n) | type))).toThrow(PeerError);
    for (const pid of [0n, 4_194_304n, 2n ** 56n - 1n]) {
      expect(() => objectOf(of((pid << 8n) | 1n))).toThrow(`process ${pid}`);
      expect(() => requestedProcess(of(pid))).toThrow(PeerError);
    }
  });

  it('is pages of an address space', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 64n - 1n), fc.bigInt(0n, 2n ** 64n - 1n), (address, pageCount) => {
        const possible = address % 4096n === 0n && pageCount > 0n && address + pageCount * 4096n <= 2n ** 64n;
        const header = { ...of(257n), address, pageCount };
        if (!possible) expect(() => pagesOf(header)).toThrow(PeerError);
        else {
          const { startPage, endPage } = pagesOf(header);
          expect([BigInt(startPage) * 4096n, BigInt(endPage - startPage)]).toEqual([address, pageCount]);
        }
      }),
    );
    expect(pagesOf({ ...of(257n), address: 0xffff_ffff_ffff_f000n, pageCount: 1n })).toEqual({
      startPage: 2 ** 52 - 1,
      endPage: 2 ** 52,
    });
  });
});
