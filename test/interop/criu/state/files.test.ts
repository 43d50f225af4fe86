import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { IntegrityError } from '../../../../src/core/index.ts';
import { Descriptors } from '../../../../src/interop/criu/state/descriptors.ts';
import { DumpImages } from '../../../../src/interop/criu/state/dump-images.ts';
import { FileTable } from '../../../../src/interop/criu/state/file-table.ts';
import { readPipes } from '../../../../src/interop/criu/state/pipes.ts';
import { Terminals } from '../../../../src/interop/criu/state/terminals.ts';
import type { OpenFile } from '../../../../src/target/index.ts';
import {
  entry,
  fdinfoImage,
  filesImage,
  image,
  memfdFile,
  memfdImage,
  regularFile,
} from '../image-encoder.ts';
import { nested, number, numbers, repeated, text } from '../protobuf.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'ckpt-files-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const put = (name: string, content: Uint8Array) => writeFileSync(join(directory, `${name}.img`), content);

/** Opens the files as descriptors 0, 1, ... of one process. */
async function openFiles(...entries: Buffer[]): Promise<OpenFile[]> {
  put('files', filesImage(...entries));
  put('fdinfo-1', fdinfoImage(...entries.map((_, index) => ({ id: index + 1, fd: index }))));
  const images = new DumpImages(directory);
  const terminals = await Terminals.read(images);
  const files = await FileTable.read(images, terminals);
  const { contents } = await readPipes(images);
  return new Descriptors(files, contents).openFiles(await images.entries('fdinfo-1', 'FDINFO'));
}

const nobody = numbers(0, 0, 0, 0, 0);
/** file_entry: type, id, and the entry of its kind in the field of its kind. */
const file = (type: number, id: number, field: number, ...content: Buffer[]) =>
  entry(number(1, type), number(2, id), nested(field, number(1, id), ...content));

const regular = (id: number, name: string, flags: number, position: bigint, ...more: Buffer[]) =>
  file(1, id, 3, number(2, flags), number(3, position), nested(5, nobody), text(6, name), ...more);
const pipe = (id: number, pipeId: number, flags: number) =>
  file(2, id, 18, number(2, pipeId), number(3, flags), nested(4, nobody));

const socketOptions = numbers(0, 0, 0, 0, 0, 0);
const internet = (
  id: number,
  given: {
    family: number;
    proto: number;
    state: number;
    ports: [number, number];
    from: number[];
    to: number[];
  },
) =>
  file(
    ...([4, id, 4] as const),
    ...[number(2, 500 + id), number(3, given.family), number(4, 1), number(5, given.proto)],
    ...[number(6, given.state), number(7, given.ports[0]), number(8, given.ports[1]), number(9, 2)],
    ...[number(10, 0), repeated(11, given.from), repeated(12, given.to)],
    ...[nested(13, nobody), nested(14, socketOptions)],
  );
const unix = (id: number, state: number, peer: number, name: string) =>
  file(
    ...([5, id, 16] as const),
    ...[number(2, 500 + id), number(3, 1), number(4, state), number(5, 2), number(6, 0), number(7, 0)],
    ...[number(8, peer), nested(9, nobody), nested(10, socketOptions), nested(11, Buffer.from(name))],
  );

describe('open files of an image', () => {
  it('that are in file systems have their kinds, positions and sizes', async () => {
    put('remap-fpath', image(0x59133954, entry(number(1, 3), number(2, 9), number(3, 1))));
    const found = await openFiles(
      regular(1, '/var/log/x', 0o102001, 42n, number(8, 99), number(10, 0o100644)),
      regular(2, './srv', 0, 0n, number(10, 0o40755)),
      regular(3, 'tmp/gone', 2, 2n ** 64n - 1n, number(10, 0o100600)),
      regular(4, '/dev/null', 2, 0n, number(10, 0o20666)),
      regular(5, '/dev/sda', 2, 7n, number(10, 0o60666)),
      regular(6, '/of/old/images', 0o200000, 0n),
    );
    expect(found.map(({ kind, path, position }) => [kind, path, position])).toEqual([
      ['file', '/var/log/x', '42'],
      ['directory', '/srv', '0'],
      ['file', '/tmp/gone (deleted)', '-1'],
      ['null', '/dev/null', '0'],
      ['device', '/dev/sda', '7'],
      ['file', '/of/old/images', '0'],
    ]);
    expect(found[0]).toMatchObject({ flags: 0o102001, sizeBytes: 99, description: 1, inode: '0' });
    expect(found[2]?.deleted).toBe(true);
  });

  it('that CRIU checks have a build ID', async () => {
    const program = regular(1, '/bin/p', 0, 0n, number(8, 5), repeated(11, [0x25680da5, 0x00ff1fe7]));
    put('files', filesImage(program));
    const images = new DumpImages(directory);
    const files = await FileTable.read(images, await Terminals.read(images));
    expect(files.get(1)).toMatchObject({ sizeBytes: 5, buildId: 'a50d6825e71fff00' });
  });

  it('have what lies unread in pipes, on the first descriptor that reads', async () => {
    const unread = Buffer.from('not yet read');
    const data = entry(number(1, 77), number(2, unread.length), number(3, 4096));
    put('pipes-data', Buffer.concat([image(0x56453709, data), unread]));
    const found = await openFiles(pipe(1, 77, 1), pipe(2, 77, 0), pipe(3, 77, 0), pipe(4, 78, 0));
    expect(found.map((one) => one.path)).toEqual(['pipe:[77]', 'pipe:[77]', 'pipe:[77]', 'pipe:[78]']);
    expect(found.map((one) => one.pipe)).toEqual([
      null,
      { unread: unread.toString('base64'), capacityBytes: 4096 },
      null,
      null,
    ]);
    expect(found.map(({ kind, inode }) => `${kind} ${inode}`)).toEqual([
      'pipe 77',
      'pipe 77',
      'pipe 77',
      'pipe 78',
    ]);
  });

  it('leave out what is too much to keep twice', async () => {
    const much = Buffer.alloc(9 * 1024 * 1024, 1);
    const data = (id: number) => Buffer.concat([entry(number(1, id), number(2, much.length)), much]);
    put('pipes-data', Buffer.concat([image(0x56453709), data(1), data(2)]));
    const { contents, complete } = await readPipes(new DumpImages(directory));
    expect([[...contents.keys()], complete]).toEqual([[1], false]);
  });

  it('tell what sockets are connected to', async () => {
    const local = 0x0100007f;
    const found = await openFiles(
      internet(1, { family: 2, proto: 6, state: 10, ports: [6379, 0], from: [0], to: [0] }),
      internet(2, { family: 2, proto: 6, state: 1, ports: [6379, 4711], from: [local], to: [local] }),
      internet(3, { family: 10, proto: 17, state: 7, ports: [53, 0], from: [0, 0, 0, 1 << 24], to: [] }),
      internet(4, { family: 10, proto: 6, state: 10, ports: [80, 0], from: [0xb80d0120, 0, 0, 0], to: [] }),
      unix(5, 10, 0, '/run/x.sock\0'),
      unix(6, 1, 12, ''),
      unix(7, 7, 0, '\0hidden'),
    );
    expect(found.map(({ kind, path, details }) => [kind, path, ...details])).toEqual([
      ['socket', 'socket:[501]', 'tcp 0.0.0.0:6379 listening'],
      ['socket', 'socket:[502]', 'tcp 127.0.0.1:6379 to 127.0.0.1:4711 established'],
      ['socket', 'socket:[503]', 'udp [::1]:53 unconnected'],
      ['socket', 'socket:[504]', 'tcp [2001:db8::]:80 listening'],
      ['socket', 'socket:[505]', 'unix stream /run/x.sock listening'],
      ['socket', 'socket:[506]', 'unix stream to socket:[12] established'],
      ['socket', 'socket:[507]', 'unix stream @hidden unconnected'],
    ]);
  });

  it('of the kernel have the lines of fdinfo', async () => {
    const found = await openFiles(
      file(6, 1, 8, number(2, 2), nested(3, nobody), number(4, 255)),
      file(7, 2, 9, number(2, 2), nested(3, nobody), nested(4, numbers(2, 5, 25, 9))),
      file(9, 3, 10, number(2, 2), nested(3, nobody), number(4, 0x8000n)),
      file(
        17,
        4,
        12,
        number(2, 2),
        nested(3, nobody),
        number(4, 1),
        number(5, 0),
        number(6, 1),
        ...[7, 8, 9, 10].map((field) => number(field, field)),
      ),
      file(20, 5, 22, number(2, 4), number(3, 2), number(4, 33), nested(5, nobody)),
    );
    expect(found.map(({ kind, details }) => [kind, ...details])).toEqual([
      ['eventfd', 'eventfd-count: ff'],
      ['epoll', 'tfd: 5 events: 19 data: 9'],
      ['signalfd', 'sigmask: 0000000000008000'],
      ['timerfd', 'clockid: 1', 'ticks: 0', 'settime flags: 01', 'it_value: (7, 8)', 'it_interval: (9, 10)'],
      ['pidfd', 'Pid: 33'],
    ]);
  });

  it('may be memory, terminals, FIFOs, or nothing that is known', async () => {
    put(
      'memfd',
      memfdImage(
        { name: 'mine', inode: 1, shmid: 9, pages: 3 },
        { name: '/dev/zero', inode: 2, shmid: 8, pages: 1 },
      ),
    );
    const terminal = (id: number, type: number, rdev: number, sid: number, ...more: Buffer[]) =>
      entry(
        ...[number(1, id), number(2, type), number(3, 0), number(4, 0), number(5, 0)],
        ...[number(6, sid), number(7, 1), number(8, rdev)],
        ...more,
      );
    put(
      'tty-info',
      image(
        0x59453036,
        terminal(1, 1, 0x502, 70, nested(12, number(1, 4))),
        terminal(2, 1, 0x8804, 0, nested(12, number(1, 4))),
        terminal(3, 3, 0x402, 71),
        terminal(4, 2, 0x501, 72),
      ),
    );
    const found = await openFiles(
      memfdFile(1, 1),
      memfdFile(2, 2),
      file(11, 3, 19, number(2, 2), number(3, 2), nested(4, nobody)),
      file(11, 4, 19, number(2, 1), number(3, 2), nested(4, nobody)),
      file(3, 5, 17, number(2, 60), number(3, 6)),
      regularFile(6, '/run/fifo'),
      file(16, 7, 15, nested(5, nobody)),
      entry(number(1, 99), number(2, 8)),
    );
    expect(found.map(({ kind, path, sizeBytes }) => [kind, path, sizeBytes])).toEqual([
      ['memfd', '/memfd:mine (deleted)', 12288],
      ['memfd', '/dev/zero (deleted)', 4096],
      ['terminal', '/dev/pts/4', 0],
      ['terminal', '/dev/ptmx', 0],
      ['fifo', '/run/fifo', 0],
      ['file', '/run/fifo', 0],
      ['other', 'external', 0],
      ['other', 'CRIU type 99', 0],
    ]);
    const terminals = await Terminals.read(new DumpImages(directory));
    // Of session 70 the master says that the other side is its terminal.
    const sessions = [70, 71, 72, 73, 0].map((session) => terminals.ofSession(session));
    expect(sessions).toEqual(['/dev/pts/4', '/dev/tty2', '/dev/console', undefined, undefined]);
  });

  it('that are not in files.img, or twice the same descriptor, are damage', async () => {
    put('files', filesImage(regularFile(1, '/a')));
    const images = new DumpImages(directory);
    const files = await FileTable.read(images, await Terminals.read(images));
    const read = async (...descriptors: { id: number; fd: number }[]) => {
      put('fdinfo-1', fdinfoImage(...descriptors));
      return new Descriptors(files, new Map()).openFiles(await images.entries('fdinfo-1', 'FDINFO'));
    };
    await expect(read({ id: 2, fd: 0 })).rejects.toThrow(
      /fdinfo-1\.img is damaged at byte 8: files\.img has no file 2/,
    );
    await expect(read({ id: 1, fd: 3 }, { id: 1, fd: 3 })).rejects.toThrow(IntegrityError);
    put('files', filesImage(memfdFile(1, 5)));
    await expect(FileTable.read(images, await Terminals.read(images))).rejects.toThrow(
      /memfd\.img has no memfd 5/,
    );
  });
});
