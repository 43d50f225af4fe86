import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PAGE_SIZE, PageRangeList, PeerError, StoreUnusableError } from '../../../src/core/index.ts';
import { memoryDigest } from '../../../src/image/index.ts';
import { Destination } from '../../../src/migration/receive/destination.ts';
import { type MigrationRecord, MigrationRecords } from '../../../src/migration/receive/records.ts';
import type { ReceiveOptions } from '../../../src/migration/receive/request.ts';
import type { Message, MessageOf } from '../../../src/migration/wire/messages.ts';
import { openSimulatedTarget } from '../../../src/target/index.ts';
import { SMALL_WORKLOAD } from '../../checkpoint/workload.ts';
import { channelPair } from '../wire/channel-pair.ts';
import { freshId, inspectStore, migrate, receivingBench } from './migrations.ts';

const { root, pool } = receivingBench();

const small = () => openSimulatedTarget(SMALL_WORKLOAD, 'small.yaml');

function hello(changes: Partial<MessageOf<'hello'>> = {}): MessageOf<'hello'> {
  return {
    type: 'hello',
    migrationId: freshId(),
    purpose: 'migrate',
    strategy: 'pre-copy',
    target: { kind: 'simulated', name: 'sim:odd.yaml', fingerprint: 'odd' },
    pageSize: PAGE_SIZE,
    program: 'test',
    ...changes,
  };
}

const ROUND: MessageOf<'round'> = { type: 'round', number: 1, final: false };
const range = (startPage: number, endPage: number) => PageRangeList.of({ startPage, endPage });

/** Says these messages to a destination. @returns what it threw, and why it says to have given up */
async function converse(messages: readonly Message[], options: Partial<ReceiveOptions> = {}) {
  const storeDirectory = join(root, freshId());
  const destination = new Destination({ storeDirectory, workers: 0, ...options });
  const [here, there] = channelPair();
  const served = destination.serve(there).catch((error: unknown) => error);
  let said = '';
  try {
    for (const message of messages) await here.send(message);
    for await (const answer of here) if (answer.type === 'abort') said = answer.reason;
  } catch (error) {
    said = (error as Error).message;
  }
  const failure = await served;
  await destination.close();
  return { failure, said, storeDirectory };
}

describe('a destination', () => {
  it.each([
    ['pages of another size', hello({ pageSize: 16384 }), 'pages have 4096 bytes here'],
    ['an id that could leave its directory', hello({ migrationId: '../../x' }), 'no usable id'],
    ['a rehearsal that it would keep', hello({ purpose: 'discard' }), '--discard only counts it'],
    [
      'a live process before its memory is there',
      hello({ strategy: 'post-copy', target: { kind: 'live', name: 'x', fingerprint: '' } }),
      'before all of its memory is here',
    ],
  ])('refuses %s', async (_, greeting, why) => {
    const { failure, said, storeDirectory } = await converse([greeting]);
    expect(failure).toBeInstanceOf(PeerError);
    expect((failure as Error).message).toContain(why);
    expect(said).toContain(why);
    expect(() => readdirSync(storeDirectory)).toThrow('ENOENT');
  });

  it.each<[string, Message[], string]>([
    ['pages outside of a round', [pages(range(1, 2), 'zero')], "said 'pages' where 'round' was expected"],
    [
      'a page of a message that is not there',
      [ROUND, pages(range(1, 3), 'raw'), mappings([1, 3]), { type: 'round-end', number: 1, sentPages: 2 }],
      'it holds 0 bytes',
    ],
    ['more zeros than anybody has', [ROUND, pages(range(0, 2 ** 40), 'zero')], 'where 1 to 65536 may come'],
    ['no pages at all', [ROUND, pages(new PageRangeList(), 'raw')], 'sent 0 pages'],
    [
      'a round of which pages are missing',
      [ROUND, { type: 'round-end', number: 1, sentPages: 3 }],
      'with 3 pages',
    ],
    [
      'a round of nobody',
      [ROUND, { type: 'round-end', number: 1, sentPages: 0 }],
      'what the pages belong to',
    ],
    ['mappings that overlap', [ROUND, mappings([1, 5], [4, 6])], 'out of order at 0x4000'],
    ['a mapping that ends before it begins', [ROUND, mappings([5, 5])], 'out of order at 0x5000'],
    ['state in the middle', [ROUND, state('{}', true)], 'which is not the last'],
    ['a state that is none', lastRound(state('{}', true)), 'cannot be restored'],
    ['a summary that is none', [{ ...ROUND, final: true }, state('[]', true)], 'no JSON object'],
    [
      'more state than all',
      [{ ...ROUND, final: true }, state('{}', true), state('{}', true)],
      'behind the last',
    ],
    [
      'giving up',
      [ROUND, { type: 'abort', reason: 'no\u001b[2Jreason' }],
      'given the migration up: no?[2Jreason',
    ],
  ])('leaves nothing after %s', async (_, messages, why) => {
    const { failure, storeDirectory } = await converse([hello(), ...messages]);
    expect(failure).toBeInstanceOf(Error);
    expect((failure as Error).message).toContain(why);
    const { findings, checkpoints, packs } = await inspectStore(storeDirectory, pool);
    expect([findings, checkpoints, packs]).toEqual([[], [], []]);
    expect(await new MigrationRecords(storeDirectory).all()).toMatchObject([{ status: 'failed' }]);
  });

  it('receives one migration at a time, and none twice', async () => {
    const storeDirectory = join(root, freshId());
    const destination = new Destination({ storeDirectory, workers: 0 });
    const [first, there] = channelPair();
    const served = destination.serve(there).catch((error: unknown) => error);
    const greeting = hello();
    await first.send(greeting);
    expect((await first.receive())?.type).toBe('welcome');
    for (const id of [freshId(), greeting.migrationId]) {
      const [second, here] = channelPair();
      const refused = destination.serve(here).catch((error: unknown) => error);
      await second.send(hello({ migrationId: id }));
      expect(await second.receive()).toEqual({
        type: 'abort',
        reason: 'another migration is under way here',
      });
      expect(await refused).toBeInstanceOf(PeerError);
    }
    first.abort(new Error('enough'));
    await served;
    const [again, here] = channelPair();
    const refused = destination.serve(here).catch((error: unknown) => error);
    await again.send(greeting);
    expect(await again.receive()).toMatchObject({ type: 'abort', reason: expect.stringContaining('before') });
    await refused;
    await destination.close();
  });

  it('gives up a source that is connected and says nothing', async () => {
    const storeDirectory = join(root, freshId());
    const destination = new Destination({ storeDirectory, workers: 0, quietMicroseconds: 300_000 });
    const [silent, there] = channelPair();
    const served = destination.serve(there).catch((error: unknown) => error);
    await silent.send(hello());
    expect((await silent.receive())?.type).toBe('welcome');
    await expect(silent.receive()).rejects.toThrow('said nothing for 300 ms');
    expect(await served).toBeInstanceOf(PeerError);
    const [second, here] = channelPair();
    const next = destination.serve(here).catch((error: unknown) => error);
    await second.send(hello());
    expect((await second.receive())?.type).toBe('welcome');
    second.abort(new Error('enough'));
    await next;
    await destination.close();
  });

  it('counts what it is to discard, and has the source go on', async () => {
    const target = small();
    await target.run(10_000);
    const { sent, received, sendFailure } = await migrate(
      target,
      pool,
      { storeDirectory: undefined, discard: true },
      { purpose: 'discard', choice: { policy: 'criu' } },
    );
    expect(sendFailure).toBeUndefined();
    expect(sent!.end).toBe('rehearsed');
    expect(target.frozen).toBe(false);
    const { normal, duplicate } = sent!.pages;
    expect(received).toMatchObject({
      outcome: 'discarded',
      checkpoint: null,
      pages: { received: normal + duplicate, zero: duplicate },
    });
  });

  it('gives up when it is interrupted, and the source goes on', async () => {
    const controller = new AbortController();
    const target = small();
    const storeDirectory = join(root, freshId());
    const { sendFailure, receiveFailure } = await migrate(target, pool, {
      storeDirectory,
      signal: controller.signal,
      onEvent: (event) => {
        if (event.kind === 'progress' && event.progress.pages > 100) controller.abort(new Error('Ctrl-C'));
      },
    });
    expect(receiveFailure?.message).toBe('Ctrl-C');
    expect(sendFailure?.message).toContain('Ctrl-C');
    expect(target.frozen).toBe(false);
    expect((await inspectStore(storeDirectory, pool)).checkpoints).toEqual([]);
  });

  it('leaves the checkpoints of others alone when a migration fails', async () => {
    const storeDirectory = join(root, freshId());
    const first = small();
    const { received } = await migrate(first, pool, { storeDirectory }, { choice: { policy: 'criu' } });
    const before = await inspectStore(storeDirectory, pool);
    expect(received!.checkpoint).toBe(before.checkpoints.length);
    const second = await migrate(small(), pool, { storeDirectory }, {}, { lostAfterSent: 8 });
    expect(second.sendFailure).toBeInstanceOf(Error);
    expect(await inspectStore(storeDirectory, pool)).toEqual(before);
  });

  it('ends what an earlier one left unfinished, and nothing else', async () => {
    const storeDirectory = join(root, freshId());
    await migrate(small(), pool, { storeDirectory }, { choice: { policy: 'criu' } });
    const records = new MigrationRecords(storeDirectory);
    const [record] = await records.all();
    const { checkpoints } = await inspectStore(storeDirectory, pool);
    // As if killed before it was told to run, with a number that somebody else's checkpoint has got since.
    const [own, other] = record!.checkpoints;
    const unfinished: MigrationRecord = {
      ...record!,
      status: 'receiving',
      checkpoints: [{ ...own!, createdAt: '2001-01-01T00:00:00.000Z' }, other!],
    };
    await records.write(unfinished);
    const notes: string[] = [];
    const destination = new Destination({
      storeDirectory,
      workers: 0,
      onEvent: (event) => notes.push(event.kind === 'note' ? event.text : ''),
    });
    await destination.recover();
    await destination.recover();
    await destination.close();
    expect(notes).toEqual([expect.stringContaining('was not finished: removed what had come of it')]);
    expect(await records.read(record!.migrationId)).toMatchObject({ status: 'failed', checkpoints: [] });
    const left = await inspectStore(storeDirectory, pool);
    expect(left.checkpoints.map(({ number }) => number)).toEqual([own!.number]);
    expect(checkpoints.length).toBe(2);
  });

  it('lets nothing run that it cannot note, and has the source ask', async () => {
    const storeDirectory = join(root, freshId());
    const migrationId = freshId();
    const records = join(storeDirectory, 'migrations');
    const { sendFailure, receiveFailure } = await migrate(
      small(),
      pool,
      { storeDirectory, runMicroseconds: 1000 },
      {
        migrationId,
        choice: { policy: 'criu' },
        onCommit: () => {
          renameSync(records, join(storeDirectory, 'tmp', 'aside'));
          writeFileSync(records, '');
        },
      },
    );
    expect(receiveFailure).toBeInstanceOf(StoreUnusableError);
    expect(sendFailure).toMatchObject({ data: { migrationId, inDoubt: true } });
    rmSync(records);
    renameSync(join(storeDirectory, 'tmp', 'aside'), records);
    const destination = new Destination({ storeDirectory, workers: 0 });
    await destination.recover();
    await destination.close();
    expect(await new MigrationRecords(storeDirectory).read(migrationId)).toMatchObject({ status: 'failed' });
    expect((await inspectStore(storeDirectory, pool)).checkpoints).toEqual([]);
  });

  it('refuses records that are damaged, and directories that are no stores', async () => {
    const storeDirectory = join(root, freshId());
    await migrate(small(), pool, { storeDirectory }, { choice: { policy: 'criu' } });
    const [name] = readdirSync(join(storeDirectory, 'migrations'));
    writeFileSync(join(storeDirectory, 'migrations', name!), '{}');
    const destination = new Destination({ storeDirectory, workers: 0 });
    await expect(destination.recover()).rejects.toThrow('is damaged');
    await destination.close();
    const other = join(root, freshId());
    mkdirSync(other);
    writeFileSync(join(other, 'letter'), 'dear reader');
    const { failure } = await converse([hello()], { storeDirectory: other });
    expect((failure as Error).message).toContain('is not a store');
    expect(readdirSync(other)).toEqual(['letter']);
  });
});

function pages(ranges: PageRangeList, encoding: 'raw' | 'zstd' | 'zero'): Message {
  return { type: 'pages', pid: 1, ranges, encoding, checksum: 0, bytes: new Uint8Array() };
}

function mappings(...ranges: readonly (readonly [number, number])[]): MessageOf<'mappings'> {
  const vma = {
    ...{ read: true, write: true, execute: false, shared: false, offsetPages: 0 },
    ...{ deviceMajor: 0, deviceMinor: 0, inode: 0, pathname: '', flags: [] },
  };
  const vmas = ranges.map(([startPage, endPage]) => ({ ...vma, startPage, endPage }));
  return { type: 'mappings', pid: 1, parentPid: 0, name: 'odd', fingerprint: undefined, vmas };
}

function state(summary: string, last: boolean): Message {
  return { type: 'state', format: 'ckpt-simulated-1', summary, last, bytes: new Uint8Array([1, 2, 3]) };
}

/** A last round without pages, of the process of `mappings([1, 2])`. */
function lastRound(what: Message): Message[] {
  const told = mappings([1, 2]);
  const digest = memoryDigest([{ pid: 1, vmas: told.vmas, segments: [] }]);
  return [
    { ...ROUND, final: true },
    told,
    what,
    { type: 'round-end', number: 1, sentPages: 0 },
    { type: 'prepared-digest', memoryDigest: digest },
  ];
}
