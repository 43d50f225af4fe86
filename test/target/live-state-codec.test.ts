import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IntegrityError, StoreVersionError } from '../../src/core/index.ts';
import { decodeLiveState, LIVE_STATE_FORMAT, type LiveState } from '../../src/target/index.ts';
import { encodeLiveState } from '../../src/target/live-state-codec.ts';
import { liveStates } from './arbitrary-live-state.ts';

const WHAT = 'the state of checkpoint 000007';
const decode = (document: unknown) =>
  decodeLiveState(new TextEncoder().encode(JSON.stringify(document)), WHAT);
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

/** One state, always the same. */
function sample(): LiveState {
  return fc.sample(liveStates, { numRuns: 1, seed: 20 })[0]!;
}

/** Its document with one field, named by its path, replaced. */
function documentWith(path: readonly (string | number)[], value: unknown): unknown {
  const document = plain({ format: LIVE_STATE_FORMAT, ...sample() });
  let parent = document as Record<string | number, unknown>;
  for (const step of path.slice(0, -1)) parent = parent[step] as Record<string | number, unknown>;
  parent[path.at(-1)!] = value;
  return document;
}

describe('the bytes of a live state', () => {
  it('bring back every state', () => {
    fc.assert(
      fc.property(liveStates, (state) => {
        expect(plain(decodeLiveState(encodeLiveState(state), WHAT))).toEqual(plain(state));
      }),
      { numRuns: 60 },
    );
  });

  it('are refused with the name of the field, whichever field is removed', () => {
    const document = plain({ format: LIVE_STATE_FORMAT, ...sample() }) as Record<string, unknown>;
    const process = (document['processes'] as Record<string, unknown>[])[1]!;
    const thread = (process['threads'] as Record<string, unknown>[])[0]!;
    for (const part of [process, thread, process['credentials'], process['layout'], process['timers']]) {
      const fields = part as Record<string, unknown>;
      for (const name of Object.keys(fields)) {
        const { [name]: removed } = fields;
        delete fields[name];
        expect(() => decode(document), name).toThrow(IntegrityError);
        expect(() => decode(document), name).toThrow(
          new RegExp(`${WHAT} is malformed: .*\\b${name} must be`),
        );
        fields[name] = removed;
      }
    }
  });

  it.each([
    [['machine'], 'sparc', /machine must be one of/],
    [['processes'], [], /processes must be at least one process/],
    [['processes', 1, 'pid'], 100, /processes\[1\]\.threads must be the threads of process 100/],
    [['processes', 0, 'parentPid'], 1, /processes must be a tree/],
    [['processes', 2, 'parentPid'], 4, /processes must be a tree/],
    [['processes', 0, 'threads'], [], /threads must be the threads of process 100/],
    [['processes', 0, 'layout', 'brk'], '7ffc', /layout\.brk must be a number of at most 64 bits/],
    [['processes', 0, 'layout', 'brk'], `0x1${'0'.repeat(16)}`, /layout\.brk must be a number of at most/],
    [['processes', 0, 'environment'], 'a', /environment must be bytes in base64/],
    [['processes', 0, 'signals', 'pending'], ['AAAA'], /signals\.pending must be siginfo of 128 bytes/],
    [['processes', 0, 'credentials', 'userIds'], [0, 0, 0], /credentials\.userIds must be four ids/],
    [['processes', 0, 'umask'], -1, /umask must be an integer of at least 0/],
  ])('are refused with %j = %j', (path, value, message) => {
    expect(() => decode(documentWith(path, value))).toThrow(IntegrityError);
    expect(() => decode(documentWith(path, value))).toThrow(message);
  });

  it('must name descriptors once and in order', () => {
    const file = {
      path: '/dev/null',
      kind: 'null',
      deleted: false,
      flags: 2,
      closeOnExec: false,
      position: '0',
      device: '1:3',
      inode: '4',
      sizeBytes: 0,
      description: null,
      details: [],
      pipe: null,
    };
    const files = (...descriptors: number[]) =>
      documentWith(
        ['processes', 0, 'files'],
        descriptors.map((descriptor) => ({ descriptor, ...file })),
      );
    expect(decode(files(0, 3)).processes[0]!.files.map(({ descriptor }) => descriptor)).toEqual([0, 3]);
    expect(() => decode(files(3, 3))).toThrow(/files must be in the order of the descriptors/);
  });

  it('hold registers of the size that the machine has', () => {
    const registers = (bytes: number) => ({
      general: Buffer.alloc(bytes).toString('base64'),
      floatingPoint: Buffer.alloc(512).toString('base64'),
      extended: null,
      further: [],
    });
    const at = ['processes', 0, 'threads', 0, 'registers'];
    const document = (bytes: number) => ({
      ...(documentWith(at, registers(bytes)) as object),
      machine: 'x86_64',
    });
    expect(() => decode(document(208))).toThrow(/registers\.general must be 216 bytes in base64/);
  });

  it('of another format are refused by its name', () => {
    expect(() => decode({ ...sample(), format: 'ckpt-live-9' })).toThrow(StoreVersionError);
    expect(() => decode({ ...sample(), format: 'ckpt-live-9' })).toThrow(
      /"ckpt-live-9", this ckpt knows ckpt-live-2/,
    );
    expect(() => decode({ pid: 1, stat: '', status: '' })).toThrow(/format "ckpt-live-1"/);
  });

  it('may have fields that a later ckpt has added', () => {
    const state = sample();
    const document = documentWith(['processes', 0, 'coredumpFilter'], 51) as Record<string, unknown>;
    expect(plain(decode({ ...document, moreover: [] }))).toEqual(plain(state));
  });

  it('that are no JSON are refused', () => {
    for (const bytes of [
      new Uint8Array(),
      Uint8Array.of(0xff, 0x20),
      encodeLiveState(sample()).subarray(1),
    ]) {
      expect(() => decodeLiveState(bytes, WHAT)).toThrow(IntegrityError);
    }
    for (const document of [null, 7, [], 'ckpt-live-2'])
      expect(() => decode(document)).toThrow(IntegrityError);
  });
});
