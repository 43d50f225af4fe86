import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InterruptedError, OutputError, PAGE_SIZE, UnsupportedError } from '../../src/core/index.ts';
import { writeCoreFile } from '../../src/interop/index.ts';
import type { Vma } from '../../src/target/index.ts';
import { MemoryTarget, patternPage } from '../checkpoint/memory-target.ts';
import { readCore, readFiles, readInformation } from './elf-reader.ts';
import { processState, threadState } from './states.ts';
import { HEAP_PAGE, StatefulTarget, storeCheckpoint } from './stored-target.ts';

let work = '';
let storeDirectory = '';
let outputFile = '';
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-core-file-'));
  storeDirectory = join(work, 'store');
  outputFile = join(work, 'core');
});
afterEach(() => rmSync(work, { recursive: true, force: true }));

const PRPSINFO = 3;
const FILE = 0x46494c45;
const address = (page: number) => BigInt(page) * 4096n;

/** A mapping of a file of one page, by what the file is on this disk. */
function fileVma(path: string, startPage: number, given: Partial<Vma> = {}): Vma {
  const { ino, dev } = statSync(path);
  return {
    startPage,
    endPage: startPage + 4,
    read: true,
    write: false,
    execute: true,
    shared: false,
    offsetPages: 0,
    deviceMajor: (dev >> 8) & 0xfff,
    deviceMinor: (dev & 0xff) | ((dev >> 12) & 0xfff00),
    inode: ino,
    pathname: path,
    flags: ['rd', 'ex', 'mr', 'mw', 'me'],
    ...given,
  };
}

const program = () => Buffer.concat([Buffer.from('\x7fELF', 'latin1'), Buffer.alloc(3 * PAGE_SIZE, 0x90)]);

describe('writeCoreFile()', () => {
  it('writes the memory and the threads of the root process, for its owner alone', async () => {
    await storeCheckpoint(
      storeDirectory,
      new StatefulTarget([
        processState(100, { threads: [threadState(100), threadState(101)] }),
        processState(200, { parentPid: 100 }),
      ]),
    );
    const result = await writeCoreFile({ storeDirectory, checkpoint: 'latest', outputFile });
    expect(result).toMatchObject({
      checkpoint: 1,
      pid: 100,
      threads: 2,
      segments: 2,
      pages: 3,
      warnings: [],
      exe: null,
      file: outputFile,
    });
    expect(statSync(outputFile).mode & 0o777).toBe(0o600);
    expect(statSync(outputFile).size).toBe(result.bytes);
    expect(readdirSync(work).sort()).toEqual(['core', 'store']);
    const core = readCore(readFileSync(outputFile));
    expect(core.memory(address(HEAP_PAGE + 1), PAGE_SIZE)?.equals(patternPage(100))).toBe(true);
    expect(core.memory(address(HEAP_PAGE + 2), PAGE_SIZE)?.equals(patternPage(0))).toBe(true);
    expect(core.memory(address(HEAP_PAGE + 3), PAGE_SIZE)?.equals(patternPage(0))).toBe(true);
    expect(core.memory(address(HEAP_PAGE + 599), PAGE_SIZE)?.equals(patternPage(101))).toBe(true);
  });

  it('writes another process of the tree when asked, and names those that there are', async () => {
    await storeCheckpoint(
      storeDirectory,
      new StatefulTarget([processState(100), processState(200, { parentPid: 100 })]),
    );
    await writeCoreFile({ storeDirectory, checkpoint: 1, outputFile, pid: 200 });
    const core = readCore(readFileSync(outputFile));
    expect(readInformation(core.notes.find(({ type }) => type === PRPSINFO)!.content).pid).toBe(200);
    expect(core.memory(address(HEAP_PAGE + 1), PAGE_SIZE)?.equals(patternPage(200))).toBe(true);
    const wrong = writeCoreFile({ storeDirectory, checkpoint: 1, outputFile: join(work, 'b'), pid: 300 });
    await expect(wrong).rejects.toMatchObject({ code: 'target', hint: 'it has 100, 200' });
  });

  it('leaves pages of files to the files, but for the headers of those that are the same', async () => {
    const [same, data, gone] = ['same', 'data', 'gone'].map((name) => join(work, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(same, program());
    writeFileSync(data, 'not a program');
    writeFileSync(gone, program());
    const vmas = [
      fileVma(same, 0x1000),
      fileVma(same, 0x1004, { offsetPages: 4 }),
      fileVma(data, 0x2000),
      fileVma(gone, 0x3000),
      fileVma(same, 0x4000, { pathname: `${same} (deleted)` }),
    ];
    const target = new StatefulTarget([processState(100)], vmas);
    target.list[0]!.store(0x1002, patternPage(9));
    await storeCheckpoint(storeDirectory, target);
    rmSync(gone);
    const result = await writeCoreFile({ storeDirectory, checkpoint: 1, outputFile });
    expect(result.warnings).toEqual([expect.stringContaining(`${gone} is not there any more`)]);
    const core = readCore(readFileSync(outputFile));
    const stored = core.segments.map((one) => [
      Number(one.address >> 12n),
      one.memorySize / 4096,
      one.fileSize / 4096,
    ]);
    expect(stored.slice(0, 5)).toEqual([
      [0x1000, 2, 1],
      [0x1002, 2, 1],
      [0x1004, 4, 0],
      [0x2000, 4, 0],
      [0x3000, 4, 0],
    ]);
    expect(core.memory(address(0x1000), PAGE_SIZE)?.equals(program().subarray(0, PAGE_SIZE))).toBe(true);
    expect(core.memory(address(0x1002), PAGE_SIZE)?.equals(patternPage(9))).toBe(true);
    expect(core.memory(address(0x4000), 1)).toBeUndefined();
    const files = readFiles(core.notes.find(({ type }) => type === FILE)!.content);
    expect(files.map(({ start, end, offset, name }) => [start, end, offset, name])).toEqual(
      vmas.map((vma) => [
        address(vma.startPage),
        address(vma.endPage),
        address(vma.offsetPages),
        vma.pathname,
      ]),
    );
  });

  it('warns of a file that was replaced, and does not take its headers', async () => {
    const path = join(work, 'program');
    writeFileSync(path, program());
    const target = new StatefulTarget([processState(100)], [fileVma(path, 0x1000, { inode: 1 })]);
    await storeCheckpoint(storeDirectory, target);
    const result = await writeCoreFile({ storeDirectory, checkpoint: 1, outputFile });
    expect(result.warnings).toEqual([expect.stringContaining(`${path} is not the file any more`)]);
    const core = readCore(readFileSync(outputFile));
    expect(core.segments[0]).toMatchObject({ fileSize: 0, memorySize: 4 * PAGE_SIZE, flags: 5 });
  });

  it('refuses to write over anything', async () => {
    await storeCheckpoint(storeDirectory, new StatefulTarget([processState(100)]));
    writeFileSync(outputFile, 'precious');
    await expect(writeCoreFile({ storeDirectory, checkpoint: 1, outputFile })).rejects.toThrow(OutputError);
    expect(readFileSync(outputFile, 'utf8')).toBe('precious');
  });

  it('leaves nothing behind when it is interrupted or cannot write', async () => {
    await storeCheckpoint(storeDirectory, new StatefulTarget([processState(100)]));
    const signal = AbortSignal.abort(new InterruptedError('SIGINT'));
    const interrupted = writeCoreFile({ storeDirectory, checkpoint: 1, outputFile, signal });
    await expect(interrupted).rejects.toThrow(InterruptedError);
    const nowhere = join(work, 'missing', 'core');
    await expect(writeCoreFile({ storeDirectory, checkpoint: 1, outputFile: nowhere })).rejects.toThrow(
      OutputError,
    );
    expect(readdirSync(work)).toEqual(['store']);
  });

  it('refuses a damaged checkpoint', async () => {
    await storeCheckpoint(storeDirectory, new StatefulTarget([processState(100)]));
    const folder = join(storeDirectory, 'packs');
    const pack = join(folder, readdirSync(folder)[0]!);
    const bytes = readFileSync(pack);
    bytes[200]! ^= 1;
    writeFileSync(pack, bytes);
    await expect(writeCoreFile({ storeDirectory, checkpoint: 1, outputFile })).rejects.toMatchObject({
      code: 'integrity',
    });
    expect(readdirSync(work)).toEqual(['store']);
  });

  it('refuses checkpoints without registers and says how to have them', async () => {
    const stopped = processState(100, { threads: [threadState(100, { registers: null })] });
    await storeCheckpoint(storeDirectory, new StatefulTarget([stopped]));
    const refused = writeCoreFile({ storeDirectory, checkpoint: 1, outputFile });
    await expect(refused).rejects.toThrow(UnsupportedError);
    await expect(refused).rejects.toMatchObject({ hint: expect.stringContaining('ckpt check') });
    expect(readdirSync(work)).toEqual(['store']);
  });

  it('names a thread without registers and goes on with the others', async () => {
    const threads = [threadState(100, { registers: null }), threadState(101)];
    await storeCheckpoint(storeDirectory, new StatefulTarget([processState(100, { threads })]));
    const result = await writeCoreFile({ storeDirectory, checkpoint: 1, outputFile });
    expect(result).toMatchObject({
      threads: 1,
      warnings: [expect.stringContaining('thread 100 is left out')],
    });
  });

  it('refuses a state of another format', async () => {
    mkdirSync(storeDirectory);
    await storeCheckpoint(
      storeDirectory,
      new MemoryTarget(new StatefulTarget([processState(1)]).list, false),
    );
    await expect(writeCoreFile({ storeDirectory, checkpoint: 1, outputFile })).rejects.toThrow(
      /state of checkpoint 1/,
    );
  });
});
