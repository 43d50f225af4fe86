import type { ByteReader, ByteWriter } from '../../core/index.ts';
import type { Machine } from '../machine.ts';
import { type FileKind, FileNode } from '../memory/files.ts';
import type { FrameTable } from '../memory/frames.ts';
import type { SwapArea } from '../memory/swap.ts';
import { readColumn, readNumbers, readPairs, writeColumn, writeNumbers, writePairs } from './columns.ts';

const KINDS: readonly FileKind[] = ['tmpfs', 'ext4', 'shared-anonymous', 'hugetlb', 'program'];

export function writeFrames(writer: ByteWriter, frames: FrameTable): void {
  writer.varint(frames.next);
  for (const column of columnsOf(frames)) writeColumn(writer, column, frames.next);
  writeNumbers(writer, frames.free);
  writeNumbers(writer, frames.freeHuge);
  writer.varint(frames.compounds.size);
  for (const [head, { entire, total }] of frames.compounds) {
    writer.varint(head);
    writer.varint(entire);
    writer.varint(total);
  }
  writer.varint(frames.bytes.size);
  for (const [frame, bytes] of frames.bytes) {
    writer.varint(frame);
    writer.raw(bytes);
  }
}

export function readFrames(reader: ByteReader, frames: FrameTable): void {
  const next = reader.varint();
  frames.reserve(next);
  frames.next = next;
  for (const column of columnsOf(frames)) readColumn(reader, column, next);
  readNumbers(reader, frames.free);
  readNumbers(reader, frames.freeHuge);
  for (let count = reader.varint(); count > 0; count--) {
    frames.compounds.set(reader.varint(), { entire: reader.varint(), total: reader.varint() });
  }
  for (let count = reader.varint(); count > 0; count--) {
    // Not `slice`: that of a Buffer shares its memory, which the program writes to.
    frames.bytes.set(reader.varint(), new Uint8Array(reader.raw(4096)));
  }
}

function columnsOf(frames: FrameTable) {
  return [
    frames.flags,
    frames.mapCount,
    frames.references,
    frames.pins,
    frames.source,
    frames.key,
    frames.stores,
  ] as const;
}

export function writeSwap(writer: ByteWriter, swap: SwapArea): void {
  writer.u8(swap.enabled ? 1 : 0);
  writer.varint(swap.next);
  writeColumn(writer, swap.users, swap.next);
  writeColumn(writer, swap.frames, swap.next);
  writeNumbers(writer, swap.free);
  writePairs(writer, swap.slotOfFrame);
}

export function readSwap(reader: ByteReader, swap: SwapArea): void {
  swap.enabled = reader.u8() === 1;
  swap.next = reader.varint();
  if (swap.next > swap.users.length) {
    swap.users = new Int32Array(swap.next * 2);
    swap.frames = new Int32Array(swap.next * 2);
  }
  readColumn(reader, swap.users, swap.next);
  readColumn(reader, swap.frames, swap.next);
  readNumbers(reader, swap.free);
  readPairs(reader, swap.slotOfFrame);
}

export function writeFiles(writer: ByteWriter, machine: Machine): void {
  writer.varint(machine.nodes.size);
  for (const node of machine.nodes.values()) {
    writer.varint(node.id);
    writer.text(node.path);
    writer.u8(KINDS.indexOf(node.kind));
    writer.varint(node.sizePages);
    writer.varint(node.promisedHuge);
    writePairs(writer, node.pages);
    writePairs(writer, node.swapped);
    writePairs(writer, node.disk);
    writeNumbers(writer, [...node.readAheadMarks]);
  }
  writer.varint(machine.files.size);
  for (const [path, node] of machine.files) {
    writer.text(path);
    writer.varint(node.id);
  }
}

/** Nodes come back without mappings; restoring the mappings counts them again. */
export function readFiles(reader: ByteReader, machine: Machine): void {
  for (let count = reader.varint(); count > 0; count--) {
    const id = reader.varint();
    const path = reader.text();
    const kind = KINDS[reader.u8()];
    if (kind === undefined) throw reader.damaged('an unknown kind of file');
    const node = new FileNode(id, path, kind, reader.varint());
    node.promisedHuge = reader.varint();
    readPairs(reader, node.pages);
    readPairs(reader, node.swapped);
    readPairs(reader, node.disk);
    for (const index of readNumbers(reader)) node.readAheadMarks.add(index);
    machine.nodes.set(id, node);
  }
  for (let count = reader.varint(); count > 0; count--) {
    const path = reader.text();
    const node = machine.nodes.get(reader.varint());
    if (node === undefined) throw reader.damaged(`a name without file (${path})`);
    machine.files.set(path, node);
  }
}
