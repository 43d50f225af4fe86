import { describe, expect, it } from 'vitest';
import { dumpSession } from './sessions.ts';
import { COMMAND, decodeHeader, encodeHeader, FLAG, taskDestination, WIRE_LAYOUTS } from './wire.ts';

const hex = (bytes: Buffer) => bytes.toString('hex');

/** Messages of the protocol's description, for process 1234. */
const GOLDEN = {
  open2: '04000000' + '00000000' + '0000000000000000' + '01d2040000000000',
  add: '06000600' + '03000000' + '0000400000000000' + '01d2040000000000',
  get: '07000000' + '10000000' + '00000000007f0000' + 'd204000000000000',
  close: `23100000${'00'.repeat(20)}`,
};

describe('the encoder of the tests', () => {
  it('writes the messages of CRIU 3.17 byte for byte', () => {
    const destination = taskDestination(1234);
    expect(hex(encodeHeader('3.17', { command: COMMAND.open2, destination }))).toBe(GOLDEN.open2);
    const add = {
      command: COMMAND.addFlags,
      flags: FLAG.present | FLAG.lazy,
      pageCount: 3,
      address: 0x400000n,
      destination,
    };
    expect(hex(encodeHeader('3.17', add))).toBe(GOLDEN.add);
    const get = { command: COMMAND.get, pageCount: 16, address: 0x7f0000000000n, destination: 1234n };
    expect(hex(encodeHeader('3.17', get))).toBe(GOLDEN.get);
    expect(hex(encodeHeader('3.17', { command: COMMAND.close }))).toBe(GOLDEN.close);
  });

  it('writes the wider header of CRIU 4.2, whatever is in its padding', () => {
    const add = {
      command: COMMAND.addFlags,
      flags: FLAG.present | FLAG.lazy,
      pageCount: 3,
      address: 0x400000n,
      destination: taskDestination(1234),
    };
    expect(hex(encodeHeader('4.2', add, 0x01020304))).toBe(
      '06000600' + '04030201' + '0300000000000000' + '0000400000000000' + '01d2040000000000',
    );
  });

  it('reads what it writes', () => {
    const header = { command: 7, flags: 0, pageCount: 1024, address: 0x7fff_ffff_f000n, destination: 4n };
    for (const layout of WIRE_LAYOUTS) {
      expect(decodeHeader(layout, encodeHeader(layout, header))).toEqual(header);
    }
  });
});

describe('the sessions of the tests', () => {
  const first = {
    tasks: new Map([
      [
        7,
        new Map([
          [16, 1],
          [17, 2],
          [40, 0],
        ]),
      ],
    ]),
    objects: new Map([[5, new Map([[0, 9]])]]),
  };
  const second = {
    tasks: new Map([
      [
        7,
        new Map([
          [16, 1],
          [17, 3],
        ]),
      ],
    ]),
    objects: first.objects,
  };

  it('of a dump open each task and each object, and close', () => {
    const steps = dumpSession(first, { layout: '3.17', kind: 'dump' });
    expect(steps.map(({ bytes, answer }) => [bytes.readUInt16LE(0), bytes.length, hex(answer)])).toEqual([
      [COMMAND.open2, 24, '00'],
      [COMMAND.addFlags, 24 + 2 * 4096 + 24 + 4096 + 24, '00'],
      [COMMAND.addFlags, 24 + 4096 + 24, '00000000'],
    ]);
  });

  it('of a pre-dump ask for parents first, and send holes for what is as before', () => {
    const steps = dumpSession(second, { layout: '4.2', kind: 'pre-dump', previous: first });
    expect(steps.map(({ bytes, answer }) => [bytes.readUInt16LE(0), bytes.length, hex(answer)])).toEqual([
      [COMMAND.parent, 32, '01000000'],
      [COMMAND.open2, 32, '01'],
      [COMMAND.addFlags, 32 + 4096 + 32, '01'],
      [COMMAND.addFlags, 32 + 32 + 4096 + 32, '00000000'],
    ]);
    expect(decodeHeader('4.2', steps[3]!.bytes.subarray(0, 32))).toMatchObject({ flags: 1, pageCount: 1 });
  });
});
