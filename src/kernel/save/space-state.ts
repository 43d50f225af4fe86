import type { ByteReader, ByteWriter } from '../../core/index.ts';
import { AddressSpace } from '../address-space.ts';
import type { Machine } from '../machine.ts';
import { OpenFile } from '../memory/files.ts';
import { TABLE_ENTRIES } from '../pagetable/entry.ts';
import { HugeEntry, LeafTable, type PageTables } from '../pagetable/tables.ts';
import { UffdContext } from '../uffd/context.ts';
import { AnonVma } from '../vma/anon-vma.ts';
import { Vma } from '../vma/vma.ts';
import { readColumn, readNumbers, writeColumn, writeNumbers } from './columns.ts';

/** All address spaces, with what their mappings refer to. */
export function writeSpaces(writer: ByteWriter, machine: Machine): void {
  const vmas = machine.spaces.flatMap((space) => space.vmas.items);
  writeAnonVmas(writer, vmas);
  const files = new Map(vmas.flatMap(({ file }) => (file === null ? [] : [[file.id, file] as const])));
  writer.varint(files.size);
  for (const file of files.values()) writeNumbers(writer, [file.id, file.node.id, file.writable ? 1 : 0]);
  writer.varint(machine.spaces.length);
  for (const space of machine.spaces) writeSpaceHead(writer, space);
  writer.varint(machine.uffds.size);
  for (const { id, space, features } of machine.uffds.values())
    writeNumbers(writer, [id, space.pid, features]);
  for (const space of machine.spaces) {
    writer.varint(space.vmas.items.length);
    for (const vma of space.vmas.items) writeVma(writer, vma);
    writeTables(writer, space.tables);
  }
}

export function readSpaces(reader: ByteReader, machine: Machine): void {
  const anonVmas = readAnonVmas(reader);
  const files = new Map<number, OpenFile>();
  for (let count = reader.varint(); count > 0; count--) {
    const [id = 0, nodeId = 0, writable = 0] = readNumbers(reader);
    const node = machine.nodes.get(nodeId);
    if (node === undefined) throw reader.damaged(`an open file without inode (${nodeId})`);
    files.set(id, new OpenFile(id, node, writable === 1));
  }
  for (let count = reader.varint(); count > 0; count--) machine.spaces.push(readSpaceHead(reader, machine));
  for (let count = reader.varint(); count > 0; count--) {
    const [id = 0, pid = 0, features = 0] = readNumbers(reader);
    const space = machine.spaces.find((candidate) => candidate.pid === pid);
    if (space === undefined) throw reader.damaged(`a userfaultfd of unknown process ${pid}`);
    machine.uffds.set(id, new UffdContext(id, space, features));
  }
  for (const space of machine.spaces) {
    for (let count = reader.varint(); count > 0; count--) {
      space.vmas.items.push(readVma(reader, machine, anonVmas, files));
    }
    readTables(reader, space.tables);
  }
}

function writeSpaceHead(writer: ByteWriter, space: AddressSpace): void {
  writeNumbers(writer, [
    space.pid,
    space.startBreak,
    space.breakPage,
    space.stackPage,
    space.defaultFlags,
    space.hasPinned ? 1 : 0,
    space.ksmOrder,
    space.minorFaults,
    space.peakResident,
  ]);
}

function readSpaceHead(reader: ByteReader, machine: Machine): AddressSpace {
  const [pid = 0, startBreak = 0, breakPage = 0, stackPage = 0, defaultFlags = 0, pinned = 0, ...rest] =
    readNumbers(reader);
  const space = new AddressSpace(machine, pid);
  space.startBreak = startBreak;
  space.breakPage = breakPage;
  space.stackPage = stackPage;
  space.defaultFlags = defaultFlags;
  space.hasPinned = pinned === 1;
  space.ksmOrder = rest[0] ?? 0;
  space.minorFaults = rest[1] ?? 0;
  space.peakResident = rest[2] ?? 0;
  return space;
}

/** Identities that mappings use, and all their ancestors. */
function writeAnonVmas(writer: ByteWriter, vmas: readonly Vma[]): void {
  const known = new Map<number, AnonVma>();
  const add = (anonVma: AnonVma): void => {
    if (known.has(anonVma.id)) return;
    if (anonVma.parent !== anonVma) add(anonVma.parent);
    known.set(anonVma.id, anonVma);
  };
  for (const vma of vmas) {
    for (const anonVma of vma.chain) add(anonVma);
    if (vma.anonVma !== null) add(vma.anonVma);
  }
  writer.varint(known.size);
  for (const { id, parent, children, activeVmas, links } of known.values()) {
    writeNumbers(writer, [id, parent.id, children, activeVmas, links]);
  }
}

function readAnonVmas(reader: ByteReader): Map<number, AnonVma> {
  const known = new Map<number, AnonVma>();
  for (let count = reader.varint(); count > 0; count--) {
    const [id = 0, parentId = 0, children = 0, activeVmas = 0, links = 0] = readNumbers(reader);
    const anonVma = new AnonVma(id, known.get(parentId));
    anonVma.activeVmas = activeVmas;
    anonVma.links = links;
    known.set(id, anonVma);
    // Making a child counts it at its parent, which has been counted already.
    if (anonVma.parent !== anonVma) anonVma.parent.children--;
    anonVma.children = children;
  }
  return known;
}

function writeVma(writer: ByteWriter, vma: Vma): void {
  writeNumbers(writer, [
    vma.start,
    vma.end,
    vma.flags >>> 0,
    vma.offset,
    vma.file?.id ?? 0,
    vma.anonVma?.id ?? 0,
    vma.uffd?.id ?? 0,
    vma.writableEntries ? 1 : 0,
    ...vma.chain.map(({ id }) => id),
  ]);
  writer.text(vma.special);
}

function readVma(
  reader: ByteReader,
  machine: Machine,
  anonVmas: ReadonlyMap<number, AnonVma>,
  files: ReadonlyMap<number, OpenFile>,
): Vma {
  const [start = 0, end = 0, flags = 0, offset = 0, file = 0, anonVma = 0, uffd = 0, writable = 0, ...chain] =
    readNumbers(reader);
  const vma = new Vma(start, end, flags | 0, offset, files.get(file) ?? null);
  vma.anonVma = anonVmas.get(anonVma) ?? null;
  vma.uffd = machine.uffds.get(uffd) ?? null;
  vma.writableEntries = writable === 1;
  for (const id of chain) {
    const link = anonVmas.get(id);
    if (link === undefined) throw reader.damaged(`an unknown identity (${id}) in a mapping`);
    vma.chain.push(link);
  }
  vma.special = reader.text();
  return vma;
}

const TABLE = 1;
const HUGE = 2;
/** A lowest directory without blocks: it is kept because moves of whole gigabytes look for it. */
const DIRECTORY = 3;
/** A table with few entries, which are listed. */
const SPARSE = 4;
const SPARSE_LIMIT = 256;
const END = 0;

function writeTables(writer: ByteWriter, tables: PageTables): void {
  tables.forEachDirectory((firstBlock) => {
    writer.u8(DIRECTORY);
    writer.varint(firstBlock);
  });
  tables.forEachBlock(0, 2 ** 26, (block, found) => {
    writer.u8(found.huge ? HUGE : found.used < SPARSE_LIMIT ? SPARSE : TABLE);
    writer.varint(block);
    if (found.huge) {
      writer.u16(found.flags);
      writer.varint(found.frame);
    } else if (found.used < SPARSE_LIMIT) {
      writer.varint(found.used);
      for (let index = 0; index < TABLE_ENTRIES; index++) {
        if (found.flags[index] === 0) continue;
        writer.u16(index);
        writer.u16(found.flags[index]!);
        writer.varint(found.values[index]!);
      }
    } else {
      writeColumn(writer, found.flags, TABLE_ENTRIES);
      writeColumn(writer, found.values, TABLE_ENTRIES);
    }
  });
  writer.u8(END);
}

function readTables(reader: ByteReader, tables: PageTables): void {
  for (let kind = reader.u8(); kind !== END; kind = reader.u8()) {
    const block = reader.varint();
    if (kind === DIRECTORY) tables.lowestDirectory(block);
    else if (kind === HUGE) tables.attach(block, new HugeEntry(reader.u16(), reader.varint()));
    else if (kind === SPARSE) {
      const table = new LeafTable();
      for (let count = reader.varint(); count > 0; count--) {
        table.set(reader.u16(), reader.u16(), reader.varint());
      }
      tables.attach(block, table);
    } else if (kind === TABLE) {
      const table = new LeafTable();
      readColumn(reader, table.flags, TABLE_ENTRIES);
      readColumn(reader, table.values, TABLE_ENTRIES);
      table.recountAll();
      tables.attach(block, table);
    } else throw reader.damaged(`page table record ${kind}`);
  }
}
