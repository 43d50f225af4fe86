import { ByteReader, ByteWriter } from '../../core/index.ts';
import type { ContentProvider } from '../content.ts';
import { FAULT_KINDS, type KernelCosts } from '../costs.ts';
import { Machine, type MachineSettings } from '../machine.ts';
import { PinnedBuffer } from '../memory/pins.ts';
import type { PagemapLayout } from '../proc/pagemap.ts';
import { FEATURES, type ForceOverride, KERNEL_VERSIONS, type KernelVersion } from '../version.ts';
import { readNumbers, writeNumbers } from './columns.ts';
import { readFiles, readFrames, readSwap, writeFiles, writeFrames, writeSwap } from './memory-state.ts';
import { readSpaces, writeSpaces } from './space-state.ts';

const FORMAT_VERSION = 1;
const LAYOUTS: readonly PagemapLayout[] = ['modern', 'switching', 'pagemap2'];
const OVERRIDES: readonly ForceOverride[] = ['always', 'never'];
const THP: readonly MachineSettings['thp'][] = ['always', 'madvise', 'never'];
const SHARED_THP: readonly MachineSettings['sharedThp'][] = [
  'always',
  'within_size',
  'advise',
  'never',
  'deny',
  'force',
];

/** One process besides its memory. */
export interface SavedProcess {
  readonly pid: number;
  readonly parentPid: number;
  readonly name: string;
  readonly running: boolean;
}

/** What a kernel knows beyond its machine. */
export interface KernelIdentity {
  readonly version: KernelVersion;
  readonly pagemapLayout: PagemapLayout;
  readonly forceOverride: ForceOverride;
  readonly nextPid: number;
  readonly processes: readonly SavedProcess[];
}

/** The whole state as bytes. Columns are written as they lie in memory (little-endian, as everywhere that Node runs). */
export function encodeKernel(machine: Machine, identity: KernelIdentity): Uint8Array {
  const writer = new ByteWriter(machine.frames.next * 24 + 65536);
  writer.u8(FORMAT_VERSION);
  writer.u8(KERNEL_VERSIONS.indexOf(identity.version));
  writer.u8(LAYOUTS.indexOf(identity.pagemapLayout));
  writer.u8(OVERRIDES.indexOf(identity.forceOverride));
  writer.u8(
    (machine.softDirty ? 1 : 0) | (machine.uffdWriteProtect ? 2 : 0) | (machine.softDirtySwitch ? 4 : 0),
  );
  writer.varint(identity.nextPid);
  writer.varint(identity.processes.length);
  for (const { pid, parentPid, name, running } of identity.processes) {
    writeNumbers(writer, [pid, parentPid, running ? 1 : 0]);
    writer.text(name);
  }
  writeMachine(writer, machine);
  writeFrames(writer, machine.frames);
  writeSwap(writer, machine.swap);
  writeFiles(writer, machine);
  writeSpaces(writer, machine);
  writer.varint(machine.pinned.size);
  for (const buffer of machine.pinned) writeNumbers(writer, buffer.frames);
  writeNumbers(writer, [...machine.ksmStable.values()]);
  return writer.toBytes();
}

/** @throws IntegrityError for bytes that `encodeKernel` did not write. */
export function decodeKernel(
  bytes: Uint8Array,
  options: { content: ContentProvider; costs: KernelCosts },
): { machine: Machine; identity: KernelIdentity } {
  const reader = new ByteReader(bytes, 'saved state of a simulated kernel');
  const format = reader.u8();
  if (format !== FORMAT_VERSION) throw reader.damaged(`format version ${format}`);
  const version = pick(reader, KERNEL_VERSIONS);
  const pagemapLayout = pick(reader, LAYOUTS);
  const forceOverride = pick(reader, OVERRIDES);
  const switches = reader.u8();
  const machine = new Machine(FEATURES[version], {
    softDirty: (switches & 1) !== 0,
    uffdWriteProtect: (switches & 2) !== 0,
    ...options,
  });
  machine.softDirtySwitch = (switches & 4) !== 0;
  const nextPid = reader.varint();
  const processes: SavedProcess[] = [];
  for (let count = reader.varint(); count > 0; count--) {
    const [pid = 0, parentPid = 0, running = 0] = readNumbers(reader);
    processes.push({ pid, parentPid, name: reader.text(), running: running === 1 });
  }
  readMachine(reader, machine);
  readFrames(reader, machine.frames);
  readSwap(reader, machine.swap);
  readFiles(reader, machine);
  readSpaces(reader, machine);
  for (let count = reader.varint(); count > 0; count--) new PinnedBuffer(machine, readNumbers(reader));
  for (const frame of readNumbers(reader)) machine.ksmStable.set(machine.frames.fingerprint(frame), frame);
  reader.expectEnd();
  return { machine, identity: { version, pagemapLayout, forceOverride, nextPid, processes } };
}

function writeMachine(writer: ByteWriter, machine: Machine): void {
  const { settings, ledger } = machine;
  writer.u8(THP.indexOf(settings.thp));
  writer.u8(SHARED_THP.indexOf(settings.sharedThp));
  writer.u8((settings.thpZeroPage ? 1 : 0) | (settings.ksmZeroPages ? 2 : 0) | (settings.ksmRun << 2));
  writeNumbers(writer, [machine.hugePool, machine.hugePoolTaken, machine.hugePoolPromised, machine.lastId]);
  writeNumbers(
    writer,
    FAULT_KINDS.map((kind) => ledger.faults[kind]),
  );
  writer.text(String(ledger.nanoseconds));
}

function readMachine(reader: ByteReader, machine: Machine): void {
  const { settings, ledger } = machine;
  settings.thp = pick(reader, THP);
  settings.sharedThp = pick(reader, SHARED_THP);
  const switches = reader.u8();
  settings.thpZeroPage = (switches & 1) !== 0;
  settings.ksmZeroPages = (switches & 2) !== 0;
  const run = switches >> 2;
  settings.ksmRun = run === 1 || run === 2 ? run : 0;
  const [pool = 0, taken = 0, promised = 0, lastId = 1] = readNumbers(reader);
  machine.hugePool = pool;
  machine.hugePoolTaken = taken;
  machine.hugePoolPromised = promised;
  machine.lastId = lastId;
  const faults = readNumbers(reader);
  FAULT_KINDS.forEach((kind, index) => {
    ledger.faults[kind] = faults[index] ?? 0;
  });
  ledger.nanoseconds = Number(reader.text());
}

function pick<T>(reader: ByteReader, choices: readonly T[]): T {
  const index = reader.u8();
  const choice = choices[index];
  if (choice === undefined) throw reader.damaged(`choice ${index} of ${choices.length}`);
  return choice;
}
