import { readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { InterruptedError } from '../../../../src/core/index.ts';
import { openStore, temporaryDirectory } from '../../../store/harness.ts';
import { expectedOf, play, RunningPageServer, storedIn } from './running-page-server.ts';
import { dumpSession, int32, pageOfSeed, type Step, type Tree } from './sessions.ts';
import {
  COMMAND,
  encodeHeader,
  FLAG,
  sharedDestination,
  taskDestination,
  WIRE_LAYOUTS,
  type WireHeader,
} from './wire.ts';

const TREE: Tree = {
  tasks: new Map([
    [7, new Map([0x10, 0x11, 0x12, 0x20, 0x30].map((page) => [page, page]))],
    [8, new Map([0x10, 0x11].map((page) => [page, page + 1]))],
  ]),
  objects: new Map([[5, new Map([[0, 9]])]]),
};

/** Nothing of a session is left: no checkpoint, no pack, no draft, no lock. */
async function expectUntouched(directory: string, checkpoints: readonly number[] = []): Promise<void> {
  const store = await openStore(directory, { access: 'read' });
  expect(await store.numbers()).toEqual(checkpoints);
  await store.close();
  expect(readdirSync(join(directory, 'packs'))).toHaveLength(checkpoints.length);
  expect(readdirSync(join(directory, 'tmp'))).toEqual([]);
  expect(readdirSync(directory)).not.toContain('lock');
}

const header = (fields: Partial<WireHeader>) => encodeHeader('3.17', fields);
const open2 = header({ command: COMMAND.open2, destination: taskDestination(7) });
const close = header({ command: COMMAND.close });
const add = (startPage: number, pageCount: number, flags: number) =>
  header({
    command: COMMAND.addFlags,
    flags,
    pageCount,
    address: BigInt(startPage) * 4096n,
    destination: taskDestination(7),
  });
const page = pageOfSeed(1);
const FAILED = int32(-1);
const step = (...bytes: Buffer[]): Step => ({ bytes: Buffer.concat(bytes), answer: Buffer.alloc(0) });

describe('a client that is lost', () => {
  it.each(['vanishes', 'closes'])('leaves nothing wherever it %s', async (how) => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    const steps = dumpSession(TREE, { layout: '3.17', kind: 'pre-dump', entryPages: 2 });
    const whole = Buffer.concat(steps.map(({ bytes }) => bytes));
    const cuts = Array.from({ length: 24 }, (_, at) => Math.floor((whole.length * at) / 24) + (at % 5));
    // Every message of the questions and around them, and all the places between.
    cuts.push(1, 23, 24, 25, 48, 49, 72, 96, 97, whole.length - 25, whole.length - 24, whole.length - 1);
    for (const [at, cut] of cuts.entries()) {
      const client = await server.connect();
      if (cut > 0) await client.send(whole.subarray(0, cut));
      if (how === 'vanishes') {
        // So that it is not lost before it was heard.
        if (cut >= 24) await client.receive(1);
        client.vanish();
      } else client.end();
      const deadline = Date.now() + 10_000;
      while (server.all('failed').length + server.all('left').length <= at && Date.now() < deadline) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
    expect(server.all('received')).toEqual([]);
    expect(server.all('failed').length).toBeGreaterThan(30);
    await expectUntouched(directory.path);
    expect(await play(await server.connect(), steps)).toBeUndefined();
    expect(await storedIn(directory.path, 1)).toEqual(expectedOf(TREE));
  });

  it('is told of in the log if it did not hear that all is well', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    const steps = dumpSession(TREE, { layout: '3.17', kind: 'dump' });
    const client = await server.connect();
    await client.send(...steps.map(({ bytes }) => bytes));
    client.vanish();
    const event = await Promise.race([server.event('received'), server.event('failed')]);
    // Whether it is there depends on what the kernel dropped; half of it is never there.
    if (event.kind === 'received') expect(await storedIn(directory.path, 1)).toEqual(expectedOf(TREE));
    else await expectUntouched(directory.path);
  });
});

describe('what cannot be', () => {
  const garbage: readonly [string, Buffer, string][] = [
    [
      'another protocol',
      Buffer.from('GET / HTTP/1.1\r\nHost: here\r\n\r\n'),
      "does not speak CRIU's protocol",
    ],
    ['pages before anything', Buffer.concat([add(1, 1, FLAG.present), page]), 'does not speak CRIU'],
    ['process 0', header({ command: COMMAND.open2, destination: 1n }), 'names a process 0'],
    [
      'a process that is none',
      header({ command: COMMAND.open2, destination: (4_194_304n << 8n) | 1n }),
      'names a process 4194304',
    ],
    [
      'an unknown object',
      header({ command: COMMAND.open2, destination: 0x0703n }),
      'unknown kind of object: 3',
    ],
    ['an unknown command', Buffer.concat([open2, header({ command: 99 })]), 'not known here: command 0x63'],
    [
      'a request',
      header({ command: COMMAND.get, pageCount: 1, address: 4096n, destination: 7n }),
      'asks for pages',
    ],
    [
      'flags of later CRIUs',
      Buffer.concat([open2, add(1, 1, FLAG.present | 8), page]),
      'flags that are not known here: 12',
    ],
    ['no pages', Buffer.concat([open2, add(1, 0, FLAG.present)]), 'sends no pages at 0x1000'],
    [
      'a crooked address',
      Buffer.concat([open2, header({ command: COMMAND.addFlags, flags: 4, pageCount: 1, address: 5n })]),
      'where no page begins',
    ],
    [
      'pages beyond all memory',
      Buffer.concat([
        open2,
        header({ command: COMMAND.addFlags, flags: 4, pageCount: 2, address: 0xffff_ffff_ffff_f000n }),
      ]),
      'beyond the end of all memory',
    ],
  ];
  it.each(garbage)('ends the session: %s', async (_, bytes, message) => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    const client = await server.connect();
    await client.send(bytes);
    await client.receiveRest().catch(() => undefined);
    const { error } = await server.event('failed');
    expect(error.message).toContain(message);
    await expectUntouched(directory.path);
  });

  const hugeCount = encodeHeader('4.2', {
    command: COMMAND.addFlags,
    flags: FLAG.present,
    pageCount: 2 ** 52,
    address: 4096n,
    destination: taskDestination(7),
  });

  it('ends the session: more pages than there are addresses', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    const client = await server.connect();
    await client.send(
      encodeHeader('4.2', { command: COMMAND.open2, destination: taskDestination(7) }),
      hugeCount,
    );
    await client.receiveRest().catch(() => undefined);
    expect((await server.event('failed')).error.message).toContain('4503599627370496 pages');
    await expectUntouched(directory.path);
  });

  it('takes no memory for pages that only a header tells of', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    const before = process.memoryUsage().rss;
    const client = await server.connect();
    await client.send(open2, add(1, 0xffff_ffff, FLAG.present), page);
    await client.receive(1);
    client.end();
    expect((await server.event('failed')).error.message).toContain('in the middle of a message');
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
    await expectUntouched(directory.path);
  });

  const wrong: readonly [string, readonly Step[], string][] = [
    [
      'pages that descend',
      [step(add(9, 1, FLAG.present), page), step(add(8, 1, FLAG.present), page)],
      'must ascend',
    ],
    [
      'pages that overlap',
      [step(add(9, 2, FLAG.present), page, page), step(add(10, 1, FLAG.present), page)],
      'must ascend',
    ],
    [
      'an object twice',
      [step(add(9, 1, FLAG.present), page), { bytes: open2, answer: Buffer.of(0) }],
      'sends the pages of task 7 twice',
    ],
    ['a hole without a parent', [step(add(9, 3, FLAG.parent))], 'no parent that has them'],
    ['pages that are kept back', [step(add(9, 3, FLAG.lazy))], 'keeps pages of task 7 to itself'],
    [
      'pages that are left out and sent',
      [step(add(9, 1, FLAG.parent | FLAG.present), page)],
      'says that they are left out',
    ],
  ];
  it.each(wrong)('is read to its end and answered -1: %s', async (_, steps, message) => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    const rest = [
      { bytes: header({ command: COMMAND.open2, destination: sharedDestination(3) }), answer: Buffer.of(0) },
      step(add(0, 300, FLAG.present), Buffer.alloc(300 * 4096, 1)),
      { bytes: header({ command: COMMAND.parent, destination: taskDestination(7) }), answer: int32(0) },
      { bytes: close, answer: FAILED },
    ];
    const session = [{ bytes: open2, answer: Buffer.of(0) }, ...steps, ...rest];
    expect(await play(await server.connect(), session)).toBeUndefined();
    expect((await server.event('failed')).error.message).toContain(message);
    await expectUntouched(directory.path);
  });

  it('is refused: a hole that the parent does not have, so that the process stays alive', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path, { chain: true });
    await play(await server.connect(), dumpSession(TREE, { layout: '3.17', kind: 'pre-dump' }));
    await server.event('received');
    const session = [
      { bytes: open2, answer: Buffer.of(1) },
      step(add(0x10, 3, FLAG.parent)),
      step(add(0x20, 2, FLAG.parent)),
      { bytes: close, answer: FAILED },
    ];
    expect(await play(await server.connect(), session)).toBeUndefined();
    expect((await server.event('failed')).error.message).toBe(
      'it leaves out pages of task 7 at 0x21000, as if they were here already, but checkpoint 1 lacks them',
    );
    await expectUntouched(directory.path, [1]);
  });
});

describe('a dump on top of one that the server did not begin with', () => {
  it('is refused, and the log says how to start the server', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    const session = [
      { bytes: open2, answer: Buffer.of(0) },
      step(add(0x10, 3, FLAG.parent)),
      { bytes: close, answer: FAILED },
    ];
    expect(await play(await server.connect(), session)).toBeUndefined();
    const { error } = await server.event('failed');
    expect(error).toMatchObject({ hint: expect.stringContaining("start 'ckpt page-server --chain'") });
    await expectUntouched(directory.path);
  });
});

describe('a client that does not know the parent that it is told of', () => {
  it.each(['closes', 'ends'])('gives up and %s; the log says what it lacks', async (how) => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path, { chain: true });
    await play(await server.connect(), dumpSession(TREE, { layout: '3.17', kind: 'pre-dump' }));
    await server.event('received');
    const question = header({ command: COMMAND.parent, destination: taskDestination(7) });
    const session = [{ bytes: question, answer: int32(1) }];
    const end = { bytes: close, answer: FAILED };
    expect(await play(await server.connect(), how === 'ends' ? [...session, end] : session)).toBeUndefined();
    const { error } = await server.event('failed');
    expect(error).toMatchObject({
      hint: 'it was told to build on checkpoint 1, for which criu needs --prev-images-dir; without --chain every session stands alone',
    });
    await expectUntouched(directory.path, [1]);
  });
});

describe('a session that says little', () => {
  it.each(WIRE_LAYOUTS)('is closed at once: status 0, and no checkpoint (%s)', async (layout) => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    const client = await server.connect();
    await client.send(encodeHeader(layout, { command: COMMAND.close }));
    expect(await client.receiveInt32()).toBe(0);
    client.end();
    await server.event('left');
    await expectUntouched(directory.path);
  });

  it('only asks, and is told that nothing came', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    const question = header({ command: COMMAND.parent, destination: taskDestination(7) });
    const session = [
      { bytes: question, answer: int32(0) },
      { bytes: close, answer: FAILED },
    ];
    expect(await play(await server.connect(), session)).toBeUndefined();
    expect((await server.event('failed')).error.message).toBe('it has sent no pages of anything');
  });

  it('may be silent before it begins, and not for ever', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path, { silenceMicroseconds: 150_000 });
    const patient = await server.connect();
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(await play(patient, dumpSession(TREE, { layout: '3.17', kind: 'dump' }))).toBeUndefined();
    await server.event('received');
    const silent = await server.connect();
    expect((await server.event('failed')).error.message).toBe('it has sent nothing for 0.15 s');
    await silent.receiveRest().catch(() => undefined);
    const stuck = await server.connect();
    await stuck.send(open2);
    await server.event('failed', 2);
    await expectUntouched(directory.path, [1]);
  });

  it('speaks as CRIU did before it had flags', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path, { chain: true });
    const task = (7n << 8n) | 17n;
    const old = (command: number, startPage = 0, pageCount = 0) =>
      header({ command, pageCount, address: BigInt(startPage) * 4096n, destination: task });
    const end = { bytes: close, answer: int32(0) };
    const first = [step(old(COMMAND.open), old(COMMAND.add, 16, 2), page, pageOfSeed(2)), end];
    expect(await play(await server.connect(), first)).toBeUndefined();
    await server.event('received');
    const second = [
      step(old(COMMAND.open), old(COMMAND.hole, 16, 1), old(COMMAND.add, 17, 1), pageOfSeed(3)),
      { bytes: header({ command: COMMAND.forceClose }), answer: int32(0) },
    ];
    expect(await play(await server.connect(), second)).toBeUndefined();
    await server.event('received', 2);
    const contents = new Map([
      [
        7,
        new Map([
          [16, 1],
          [17, 3],
        ]),
      ],
    ]);
    expect(await storedIn(directory.path, 2)).toEqual(expectedOf({ tasks: contents, objects: new Map() }));
  });
});

describe('a store that fails', () => {
  it('is told to the client at the end, which has sent everything', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    const packs = join(directory.path, 'packs');
    renameSync(packs, `${packs}-away`);
    writeFileSync(packs, '');
    const steps = dumpSession(TREE, { layout: '3.17', kind: 'dump' });
    const failing = steps.map((one, at) => (at === steps.length - 1 ? { ...one, answer: FAILED } : one));
    expect(await play(await server.connect(), failing)).toBeUndefined();
    expect((await server.event('failed')).error.message).toContain('packs');
    rmSync(packs);
    renameSync(`${packs}-away`, packs);
    await expectUntouched(directory.path);
  });

  it('is waited for while another command writes to it', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    const other = await openStore(directory.path);
    const played = server
      .connect()
      .then((client) => play(client, dumpSession(TREE, { layout: '3.17', kind: 'dump' })));
    await server.event('begun');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(server.all('receiving')).toEqual([]);
    await other.close();
    expect(await played).toBeUndefined();
    expect(await storedIn(directory.path, 1)).toEqual(expectedOf(TREE));
  });
});

describe('sessions at the same time', () => {
  it('are stored each for itself, more of them than may write at once', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    const trees = Array.from({ length: 7 }, (_, seed): Tree => {
      const contents = new Map(Array.from({ length: 400 }, (_, at) => [at * 2, seed * 50 + (at % 60)]));
      return { tasks: new Map([[seed + 1, contents]]), objects: new Map() };
    });
    const played = trees.map(async (tree, at) =>
      play(
        await server.connect(),
        dumpSession(tree, {
          layout: at % 2 === 0 ? '3.17' : '4.2',
          kind: at % 3 === 0 ? 'dump' : 'pre-dump',
        }),
      ),
    );
    expect(await Promise.all(played)).toEqual(trees.map(() => undefined));
    await server.event('received', 7);
    for (const { session } of server.all('received')) {
      const tree = trees[session.tasks[0]! - 1]!;
      expect(await storedIn(directory.path, session.checkpoint)).toEqual(expectedOf(tree));
    }
    expect(new Set(server.all('received').map(({ session }) => session.checkpoint)).size).toBe(7);
  });

  it('are refused with --chain but for the first, which goes on', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path, { chain: true });
    const steps = dumpSession(TREE, { layout: '3.17', kind: 'dump' });
    const first = await server.connect();
    await first.send(steps[0]!.bytes);
    await first.receive(1);
    const second = await server.connect();
    expect(await play(second, steps)).toBeDefined();
    expect((await server.event('failed')).error.message).toContain('another session is under way');
    expect(await play(first, steps.slice(1))).toBeUndefined();
    await server.event('received');
    expect(await storedIn(directory.path, 1)).toEqual(expectedOf(TREE));
  });
});

describe('the end of the server', () => {
  it('by a signal gives up what is under way, cleanly', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    const steps = dumpSession(TREE, { layout: '3.17', kind: 'dump' });
    const client = await server.connect();
    await client.send(steps[0]!.bytes, steps[1]!.bytes);
    await client.receive(1);
    const idle = await server.connect();
    server.stop(new InterruptedError('SIGINT'));
    await expect(server.over).rejects.toThrow('interrupted by SIGINT');
    await Promise.all([client, idle].map((one) => one.receiveRest().catch(() => undefined)));
    await expectUntouched(directory.path);
  });

  it('comes with --once after a session that went well', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path, { once: true });
    (await server.connect()).end();
    await server.event('left');
    expect(
      await play(await server.connect(), dumpSession(TREE, { layout: '4.2', kind: 'dump' })),
    ).toBeUndefined();
    await server.over;
  });

  it('comes with --once after one that did not, and says why', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path, { once: true });
    const client = await server.connect();
    await client.send(open2);
    await client.receive(1);
    client.end();
    await expect(server.over).rejects.toThrow('without ending the session');
  });
});
