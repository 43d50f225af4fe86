import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeNotes, fileNote, prpsinfoNote, prstatusNote } from '../../src/interop/notes.ts';
import { processNotes } from '../../src/interop/process-notes.ts';
import { xstateForDebuggers } from '../../src/interop/xsave.ts';
import { parseSmapsFlags } from '../../src/procfs/index.ts';
import type { LiveProcessState } from '../../src/target/index.ts';
import { type ReadNote, readFiles, readInformation, readNotes, readStatus } from './elf-reader.ts';
import { processState, registerBytes, threadState } from './states.ts';

const PRSTATUS = 1;
const FPREGSET = 2;
const PRPSINFO = 3;
const AUXV = 6;
const XSTATE = 0x202;
const XSAVE_LAYOUT = 0x205;
const ARM_TLS = 0x401;
const FILE = 0x46494c45;
const SIGINFO = 0x53494749;

/** Notes of one process with three threads: of the core that the kernel wrote, and of the one that gcore wrote before. */
const recorded = (name: string) => readFileSync(join(import.meta.dirname, 'recorded', name));
const vmas = parseSmapsFlags(recorded('threads.smaps').toString('utf8'));
const mappedFiles = vmas.filter(({ inode }) => inode !== 0);

/** What a checkpoint would have had of the process whose notes are given. */
function stateFrom(notes: readonly ReadNote[]): LiveProcessState {
  const info = readInformation(notes.find(({ type }) => type === PRPSINFO)!.content);
  const base64 = (note: ReadNote) => note.content.toString('base64');
  const statuses = notes.filter(({ type }) => type === PRSTATUS);
  const floats = notes.filter(({ type }) => type === FPREGSET);
  const states = notes.filter(({ type }) => type === XSTATE);
  return processState(info.pid, {
    parentPid: info.parentPid,
    processGroup: info.processGroup,
    session: info.session,
    name: info.name,
    commandLine: info.commandLine.trimEnd().split(' '),
    auxiliaryVector: base64(notes.find(({ type }) => type === AUXV)!),
    credentials: {
      ...processState(1).credentials,
      userIds: [info.userId, 0, 0, 0],
      groupIds: [info.groupId, 0, 0, 0],
    },
    threads: statuses.map((note, index) =>
      threadState(readStatus(note.content).threadId, {
        registers: {
          general: readStatus(note.content).registers.toString('base64'),
          floatingPoint: base64(floats[index]!),
          extended: base64(states[index]!),
          further: [],
        },
        systemCall: null,
      }),
    ),
  });
}

/** Where Intel's processors, and so debuggers, have the components of the extended state. */
const INTEL_OFFSETS = new Map([
  [2, 576],
  [5, 1088],
  [6, 1152],
  [7, 1664],
]);

/** Moves the components from where this kernel says that they are: entries of type, length, offset, flags. */
function spreadByKernelLayout(area: Buffer): Buffer {
  const layout = kernelNotes().find(({ type }) => type === XSAVE_LAYOUT)!.content;
  const spread = Buffer.alloc(2688);
  area.copy(spread, 0, 0, 576);
  for (let at = 0; at < layout.length; at += 16) {
    const [component, length, offset] = [0, 4, 8].map((field) => layout.readUInt32LE(at + field)) as [
      number,
      number,
      number,
    ];
    area.copy(spread, INTEL_OFFSETS.get(component)!, offset, offset + length);
  }
  return spread;
}

const kernelNotes = () => readNotes(recorded('kernel.notes'));

/** Makes zeros of what no checkpoint knows: the signal that ended the process, times, flags of the task. */
function withoutUnknown({ owner, type, content }: ReadNote): ReadNote {
  const known = Buffer.from(content);
  if (type === PRSTATUS) known.fill(0, 0, 16).fill(0, 48, 112);
  if (type === PRPSINFO) known.fill(0, 8, 16);
  if (type === SIGINFO) known.fill(0);
  return { owner, type, content: type === XSTATE ? spreadByKernelLayout(known) : known };
}

describe('processNotes()', () => {
  it('makes the notes that the kernel makes, in their order, byte for byte but for the place of vector registers', () => {
    // The layout of the extended state is told by newer kernels only, and by no other way than a core.
    const kernel = kernelNotes().filter(({ type }) => type !== XSAVE_LAYOUT);
    const notes = processNotes('x86_64', stateFrom(kernel), mappedFiles);
    // The kernel has a siginfo of the first thread only.
    const first = notes.findIndex(({ type }) => type === SIGINFO);
    const ours = encodeNotes(notes.filter(({ type }, index) => type !== SIGINFO || index === first));
    const expected = encodeNotes(
      kernel.map(withoutUnknown).map((note) => ({ ...note, owner: ownerOf(note) })),
    );
    expect(Buffer.from(ours).equals(expected)).toBe(true);
  });

  it('has the register sets that gcore has, of the same threads', () => {
    const gcore = readNotes(recorded('gcore.notes'));
    const ours = readNotes(Buffer.from(encodeNotes(processNotes('x86_64', stateFrom(gcore), mappedFiles))));
    for (const type of [FPREGSET, XSTATE, AUXV]) {
      const contents = (notes: readonly ReadNote[]) =>
        notes.filter((note) => note.type === type).map(({ content }) => content.toString('hex'));
      expect(contents(ours)).toEqual(contents(gcore));
    }
    const statuses = (notes: readonly ReadNote[]) =>
      notes.filter(({ type }) => type === PRSTATUS).map(({ content }) => readStatus(content));
    expect(statuses(ours).map(({ threadId, registers }) => [threadId, registers.toString('hex')])).toEqual(
      statuses(gcore).map(({ threadId, registers }) => [threadId, registers.toString('hex')]),
    );
    const files = (notes: readonly ReadNote[]) => readFiles(notes.find(({ type }) => type === FILE)!.content);
    expect(files(ours)).toEqual(files(gcore));
  });

  it.each([
    { processor: 'AMD with AVX-512', xcr0: 0xe7, packed: 2432, spread: 2688 },
    { processor: 'AMD with AVX-512 and protection keys', xcr0: 0x2e7, packed: 2440, spread: 2696 },
    { processor: 'AMD with protection keys', xcr0: 0x207, packed: 840, spread: 2696 },
    { processor: 'Intel with AVX-512', xcr0: 0xe7, packed: 2688, spread: 2688 },
    { processor: 'Intel with everything', xcr0: 0x2ff, packed: 2696, spread: 2696 },
    { processor: 'AVX alone', xcr0: 7, packed: 832, spread: 832 },
    { processor: 'an unknown order', xcr0: 0xe7, packed: 2500, spread: 2500 },
  ])('has the vector registers where debuggers look for them: $processor', ({ xcr0, packed, spread }) => {
    const area = Buffer.from(registerBytes(packed, 3), 'base64');
    area.writeUInt32LE(xcr0, 464);
    const found = Buffer.from(xstateForDebuggers(area));
    expect(found).toHaveLength(spread);
    expect(found.subarray(0, 832).equals(area.subarray(0, 832))).toBe(true);
    if (packed === spread) expect(found.equals(area)).toBe(true);
    else if (xcr0 & 0xe0) {
      expect(found.subarray(1088, 2688).equals(area.subarray(832, 2432))).toBe(true);
      expect(found.subarray(832, 1088).equals(Buffer.alloc(256))).toBe(true);
    }
    if (packed !== spread && xcr0 & 0x200) expect(found.subarray(2688).equals(area.subarray(-8))).toBe(true);
  });

  it('leaves out threads without registers, and tells of blocked and pending signals', () => {
    const siginfo = (signal: number) => {
      const bytes = Buffer.alloc(128);
      bytes.writeInt32LE(signal, 0);
      return bytes.toString('base64');
    };
    const process = processState(7, {
      threads: [
        threadState(7, { registers: null }),
        threadState(8, { signalMask: '0x8000000000000001', pending: [siginfo(1), siginfo(64)] }),
      ],
    });
    const notes = readNotes(Buffer.from(encodeNotes(processNotes('x86_64', process, []))));
    const statuses = notes.filter(({ type }) => type === PRSTATUS).map(({ content }) => readStatus(content));
    expect(statuses).toMatchObject([
      { threadId: 8, blocked: 0x8000000000000001n, pending: 0x8000000000000001n, floatingPointValid: 1 },
    ]);
    expect(notes.filter(({ type }) => type === PRPSINFO)).toHaveLength(1);
  });

  it('lays aarch64 out as its kernel does: 34 words of registers in NT_PRSTATUS', () => {
    const registers = {
      general: registerBytes(272, 1),
      floatingPoint: registerBytes(528, 2),
      extended: null,
      further: [{ type: ARM_TLS, content: registerBytes(8, 3) }],
    };
    const process = processState(7, { auxiliaryVector: null, threads: [threadState(7, { registers })] });
    const notes = readNotes(Buffer.from(encodeNotes(processNotes('aarch64', process, []))));
    expect(notes.map(({ type, content }) => [type, content.length])).toEqual([
      [PRSTATUS, 392],
      [PRPSINFO, 136],
      [SIGINFO, 128],
      [FILE, 16],
      [FPREGSET, 528],
      [ARM_TLS, 8],
    ]);
    expect(readStatus(notes[0]!.content).registers.toString('base64')).toBe(registers.general);
  });
});

function ownerOf({ owner }: ReadNote): 'CORE' | 'LINUX' {
  return owner === 'LINUX' ? 'LINUX' : 'CORE';
}

const word = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const number = fc.nat({ max: 2 ** 31 - 1 });
const text = fc.string({ unit: 'binary', maxLength: 120 }).map((value) => value.replaceAll('\0', '.'));

describe('notes, read back by another reader', () => {
  it('are what was encoded, whatever their lengths', () => {
    const note = fc.record({
      owner: fc.constantFrom('CORE' as const, 'LINUX' as const),
      type: number,
      content: fc.uint8Array({ maxLength: 40 }),
    });
    fc.assert(
      fc.property(fc.array(note), (notes) => {
        const read = readNotes(Buffer.from(encodeNotes(notes)));
        expect(read).toEqual(notes.map((one) => ({ ...one, content: Buffer.from(one.content) })));
      }),
    );
  });

  it('keep every field of a thread', () => {
    const thread = fc.record({
      threadId: number,
      parentPid: number,
      processGroup: number,
      session: number,
      pendingSignals: word,
      blockedSignals: word,
      generalRegisters: fc.uint8Array({ minLength: 216, maxLength: 216 }),
      hasFloatingPoint: fc.boolean(),
    });
    fc.assert(
      fc.property(thread, (given) => {
        const read = readStatus(Buffer.from(prstatusNote(given).content));
        expect(read).toEqual({
          signal: 0,
          currentSignal: 0,
          pending: given.pendingSignals,
          blocked: given.blockedSignals,
          threadId: given.threadId,
          parentPid: given.parentPid,
          processGroup: given.processGroup,
          session: given.session,
          registers: Buffer.from(given.generalRegisters),
          floatingPointValid: given.hasFloatingPoint ? 1 : 0,
        });
      }),
    );
  });

  it('keep every field of a process, and the beginning of names that are too long', () => {
    const information = fc.record({
      pid: number,
      parentPid: number,
      processGroup: number,
      session: number,
      userId: number,
      groupId: number,
      nice: fc.integer({ min: -20, max: 19 }),
      state: fc.constantFrom('R' as const, 'S' as const),
      name: text,
      commandLine: fc.array(text, { maxLength: 4 }),
    });
    fc.assert(
      fc.property(information, (given) => {
        const content = Buffer.from(prpsinfoNote(given).content);
        expect(content).toHaveLength(136);
        const { state, name, commandLine, ...rest } = given;
        const {
          state: number,
          letter,
          name: readName,
          commandLine: readLine,
          ...read
        } = readInformation(content);
        expect(read).toEqual(rest);
        expect([number, letter]).toEqual([state === 'R' ? 0 : 1, state]);
        const cut = (value: string, length: number) => Buffer.from(value).subarray(0, length).toString();
        expect(readName).toBe(cut(name, 15));
        expect(readLine).toBe(cut(commandLine.map((argument) => `${argument} `).join(''), 79));
      }),
    );
  });

  it('keep every mapped file', () => {
    const file = fc.record({
      startPage: fc.nat({ max: 2 ** 40 }),
      length: fc.integer({ min: 1, max: 2 ** 30 }),
      offsetPages: fc.nat({ max: 2 ** 40 }),
      pathname: text,
    });
    fc.assert(
      fc.property(fc.array(file), (given) => {
        const files = given.map(({ length, ...rest }) => ({ ...rest, endPage: rest.startPage + length }));
        const read = readFiles(Buffer.from(fileNote(files, 4096).content));
        expect(read).toEqual(
          files.map(({ startPage, endPage, offsetPages, pathname }) => ({
            start: BigInt(startPage) * 4096n,
            end: BigInt(endPage) * 4096n,
            offset: BigInt(offsetPages) * 4096n,
            name: Buffer.from(pathname).toString(),
          })),
        );
      }),
    );
  });
});
