import { ByteReader, ByteWriter } from '../core/index.ts';

const VERSION = 1;

/** What the tracker leaves with a checkpoint when it arms. */
export type PagemapScanState =
  /** Pages are protected; `signature` is in the ledger as long as nobody has protected them again. */
  | { readonly kind: 'armed'; readonly signature: string }
  /** Nothing is protected, and why. */
  | { readonly kind: 'unarmed'; readonly reason: string };

/** Version (u8), then signature and reason (texts, one of them empty). The signature of a simulated target is `-`. */
export function encodeState(state: PagemapScanState): Uint8Array {
  const writer = new ByteWriter();
  writer.u8(VERSION);
  writer.text(state.kind === 'armed' ? state.signature : '');
  writer.text(state.kind === 'armed' ? '' : state.reason);
  return writer.toBytes();
}

/**
 * Reads what `encodeState` wrote; undefined if another version of ckpt wrote it, whose notes cannot be used.
 * @throws IntegrityError if the bytes are damaged
 */
export function decodeState(bytes: Uint8Array): PagemapScanState | undefined {
  const reader = new ByteReader(bytes, 'the pagemap-scan state of the parent checkpoint');
  if (reader.u8() !== VERSION) return undefined;
  const signature = reader.text();
  const reason = reader.text();
  reader.expectEnd();
  return signature === '' ? { kind: 'unarmed', reason } : { kind: 'armed', signature };
}
