import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { chainOf } from '../../../../src/interop/criu/images/chain.ts';
import { openImageDirectory } from '../../../../src/interop/criu/images/directory.ts';
import { frozenMicroseconds } from '../../../../src/interop/criu/state/frozen-time.ts';
import { memoryOfImages } from '../../../../src/interop/criu/state/memory-of-images.ts';
import { stateOf } from '../../../../src/interop/criu/state/state-of.ts';
import type { DirectoryState } from '../../../../src/interop/criu/state/types.ts';
import { decodeLiveState, type LiveState, namedRegisters } from '../../../../src/target/index.ts';
import { unpackCriuImages } from '../../../cases/criu/unpack.ts';

let images: string;
let dump: DirectoryState;
let state: LiveState;
beforeAll(async () => {
  images = unpackCriuImages('braid');
  const directory = await openImageDirectory(join(images, 'braid/4'));
  dump = await stateOf(directory, memoryOfImages((await chainOf(directory)).reverse()));
  state = decodeLiveState(dump.state!.bytes, 'the state');
});
afterAll(() => rmSync(images, { recursive: true }));

const CLOCK_NANOSLEEP = 230;

describe('a dump by CRIU 3.17.1', () => {
  it('has the two processes of braid, with two threads each, all of them asleep', () => {
    const [first, second] = state.processes;
    expect(state.processes).toHaveLength(2);
    expect([first?.parentPid, second?.parentPid]).toEqual([0, first?.pid]);
    for (const { name, threads, commandLine, environment, exe, pid } of state.processes) {
      expect(name).toBe('braid');
      expect(commandLine).toEqual(['braid', '2', '2', '8', '/work/braid.report']);
      expect(Buffer.from(environment ?? '', 'base64').toString()).toContain('HOME=/');
      expect(exe?.path).toBe('/bin/braid');
      expect(threads.map(({ systemCall }) => systemCall)).toEqual([CLOCK_NANOSLEEP, CLOCK_NANOSLEEP]);
      expect(threads[0]?.id).toBe(pid);
      expect(threads.every(({ rseq, robustList }) => rseq !== null && robustList !== null)).toBe(true);
    }
  });

  it('has registers that point into its mappings', () => {
    for (const { pid, threads } of state.processes) {
      const { vmas } = dump.processes.find((process) => process.pid === pid)!;
      const mappingAt = (address: bigint) => {
        const page = Number(address / 4096n);
        return vmas.find(({ startPage, endPage }) => startPage <= page && page < endPage);
      };
      for (const { registers, id } of threads) {
        const named = new Map(namedRegisters('x86_64', registers!.general));
        expect(mappingAt(named.get('rip')!)).toMatchObject({ pathname: '/bin/braid', execute: true });
        expect(mappingAt(named.get('rsp')!)?.pathname).toBe(id === pid ? '[stack]' : '');
        expect(mappingAt(named.get('fs_base')!)).toMatchObject({ write: true });
        expect(named.get('orig_rax')).toBe(230n);
        const extended = Buffer.from(registers!.extended!, 'base64');
        expect(extended.readBigUInt64LE(464) & 0b111n).toBe(0b111n);
        expect(extended.subarray(0, 416)).toEqual(
          Buffer.from(registers!.floatingPoint, 'base64').subarray(0, 416),
        );
      }
    }
  });

  it('has its handler of SIGUSR1, its files, and nothing that is not there', () => {
    for (const { signals, files, timers, limits, credentials, gaps } of state.processes.map((process) => ({
      ...process,
      gaps: state.gaps,
    }))) {
      expect(signals.dispositions?.find(({ signal }) => signal === 10)?.flags).toBe('0x14000000');
      expect(files.map(({ descriptor, kind, path }) => [descriptor, kind, path])).toEqual([
        [0, 'null', '/dev/null'],
        [1, 'file', '/work/braid.out'],
        [2, 'file', '/work/braid.out'],
        [3, 'memfd', '/memfd:braid (deleted)'],
      ]);
      expect(files[1]?.description).toBe(files[2]?.description);
      expect(timers).toEqual({ intervals: [], posix: [] });
      expect(limits).toHaveLength(16);
      expect(credentials.userIds).toEqual([0, 0, 0, 0]);
      expect(gaps).toHaveLength(1);
    }
  });

  it('has the three objects that both processes share', () => {
    expect(dump.objects.map(({ name, pageCount }) => [name, pageCount]).sort()).toEqual([
      ['/SYSV00000000', 32],
      ['/dev/zero', 32],
      ['/memfd:braid', 32],
    ]);
    const [first, second] = dump.processes.map(({ sharedRanges }) => sharedRanges);
    expect(first).toHaveLength(3);
    expect(second).toEqual(first);
    const ids = dump.objects.map(({ id }) => id).sort();
    expect(first?.map(({ objectId }) => objectId).sort()).toEqual(ids);
  });

  it('says how long it had the processes frozen', async () => {
    expect(await frozenMicroseconds(join(images, 'braid/4'))).toBeGreaterThan(1000);
    expect(await frozenMicroseconds(images)).toBe(0);
  });

  it('is a pre-dump before, with pages alone', async () => {
    const before = await stateOf(await openImageDirectory(join(images, 'braid/1')));
    expect(before.state).toBeUndefined();
    expect(before.processes.map(({ pid }) => pid)).toEqual(state.processes.map(({ pid }) => pid));
  });
});
