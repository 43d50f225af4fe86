import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UnsupportedError } from '../../src/core/index.ts';
import { type DebugRequest, debugCheckpoint } from '../../src/interop/index.ts';
import type { FileIdentity } from '../../src/target/index.ts';
import { readCore } from './elf-reader.ts';
import { processState } from './states.ts';
import { StatefulTarget, storeCheckpoint } from './stored-target.ts';

let work = '';
let temporary = '';
const savedTemporary = process.env['TMPDIR'];
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-debugger-'));
  temporary = mkdtempSync(join(work, 'tmp-'));
  process.env['TMPDIR'] = temporary;
});
afterEach(() => {
  if (savedTemporary === undefined) delete process.env['TMPDIR'];
  else process.env['TMPDIR'] = savedTemporary;
  rmSync(work, { recursive: true, force: true });
});

/** A program in the place of gdb: keeps its arguments and the core that it was given, and does `then`. */
function standIn(then: string): string {
  const path = join(work, 'gdb');
  const script = `#!/bin/sh
printf '%s\\n' "$@" > ${work}/arguments
cat /proc/self/fd/3 > ${work}/core
ls -A ${temporary} > ${work}/left
${then}
`;
  writeFileSync(path, script, { mode: 0o755 });
  return path;
}

const argumentsOf = () => readFileSync(join(work, 'arguments'), 'utf8').trimEnd().split('\n');

async function debug(
  exe: FileIdentity | null,
  given: Partial<DebugRequest>,
  then = 'exit 0',
): Promise<{ status: number; warnings: string[] }> {
  const storeDirectory = join(work, 'store');
  await storeCheckpoint(storeDirectory, new StatefulTarget([processState(100, { exe })]));
  const warnings: string[] = [];
  const status = await debugCheckpoint({
    storeDirectory,
    checkpoint: 1,
    gdb: standIn(then),
    gdbArguments: [],
    onWarning: (warning) => warnings.push(warning),
    onStart: () => {},
    ...given,
  });
  return { status, warnings };
}

function identityOf(path: string): FileIdentity {
  const { ino, size, mtimeNs } = statSync(path, { bigint: true });
  return {
    path,
    device: '0:0',
    inode: String(ino),
    sizeBytes: Number(size),
    modifiedNanoseconds: String(mtimeNs),
  };
}

describe('debugCheckpoint()', () => {
  it('hands gdb the program, a core without a name and the further arguments', async () => {
    const exe = identityOf(process.execPath);
    const { status, warnings } = await debug(exe, { gdbArguments: ['-batch', '-ex', 'bt full'] });
    expect({ status, warnings }).toEqual({ status: 0, warnings: [] });
    expect(argumentsOf()).toEqual([`--se=${exe.path}`, '--core=/proc/self/fd/3', '-batch', '-ex', 'bt full']);
    expect(readCore(readFileSync(join(work, 'core'))).notes.length).toBeGreaterThan(4);
    expect(readFileSync(join(work, 'left'), 'utf8')).toBe('');
    expect(readdirSync(temporary)).toEqual([]);
  });

  it('gives back the exit status of gdb, and 128 and the number of a signal', async () => {
    expect((await debug(null, {}, 'exit 7')).status).toBe(7);
    rmSync(join(work, 'store'), { recursive: true });
    expect((await debug(null, {}, 'kill -TERM $$')).status).toBe(143);
  });

  it('passes signals on', async () => {
    const onStart = (forward: (signal: NodeJS.Signals) => void) => {
      setTimeout(() => forward('SIGTERM'), 100);
    };
    expect((await debug(null, { onStart }, 'exec sleep 20')).status).toBe(143);
  });

  it('warns of a program that has changed, and goes without one that is gone', async () => {
    const path = join(work, 'program');
    writeFileSync(path, 'one');
    const exe = identityOf(path);
    writeFileSync(path, 'another');
    const changed = await debug(exe, {});
    expect(changed.warnings).toEqual([expect.stringContaining(`${path} is not the program any more`)]);
    expect(argumentsOf()[0]).toBe(`--se=${path}`);
    rmSync(path);
    rmSync(join(work, 'store'), { recursive: true });
    const gone = await debug(exe, {});
    expect(gone.warnings).toEqual([expect.stringContaining(`${path}, the program that ran, is not there`)]);
    expect(argumentsOf()[0]).toBe('--core=/proc/self/fd/3');
  });

  it('says that there is no gdb before it does anything', async () => {
    const missing = debugCheckpoint({
      storeDirectory: join(work, 'no store'),
      checkpoint: 1,
      gdb: 'no-such-gdb',
      gdbArguments: [],
      onWarning: () => {},
      onStart: () => {},
    });
    await expect(missing).rejects.toThrow(UnsupportedError);
    await expect(missing).rejects.toMatchObject({ message: 'there is no no-such-gdb on this machine' });
  });
});
