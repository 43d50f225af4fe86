import { ByteReader, ByteWriter, PageRangeList } from '../core/index.ts';
import { PageTableSamples } from './page-table-samples.ts';

const VERSION = 1;

/**
 * What the soft-dirty tracker leaves with a checkpoint when it arms: version (u8), signature (text; empty if the
 * target needs none), mergeable ranges (count, then distance and length in pages), samples.
 */
export interface SoftDirtyState {
  readonly signature: string;
  /** Memory that KSM could merge when the tracker armed: merging makes written pages read clean. */
  readonly mergeable: PageRangeList;
  readonly samples: PageTableSamples;
}

export function encodeState(state: SoftDirtyState): Uint8Array {
  const writer = new ByteWriter();
  writer.u8(VERSION);
  writer.text(state.signature);
  writer.varint(state.mergeable.rangeCount);
  let previous = 0;
  for (const { startPage, endPage } of state.mergeable) {
    writer.varint(startPage - previous);
    writer.varint(endPage - startPage);
    previous = endPage;
  }
  state.samples.write(writer);
  return writer.toBytes();
}

/**
 * Reads what `encodeState` wrote; undefined if another version of ckpt wrote it, whose notes cannot be used.
 * @throws IntegrityError if the bytes are damaged
 */
export function decodeState(bytes: Uint8Array): SoftDirtyState | undefined {
  const reader = new ByteReader(bytes, 'the soft-dirty state of the parent checkpoint');
  if (reader.u8() !== VERSION) return undefined;
  const signature = reader.text();
  const mergeable = new PageRangeList();
  let page = 0;
  for (let count = reader.varint(); count > 0; count--) {
    const startPage = page + reader.varint();
    page = startPage + reader.varint();
    mergeable.append(startPage, page);
  }
  const samples = PageTableSamples.read(reader);
  reader.expectEnd();
  return { signature, mergeable, samples };
}
