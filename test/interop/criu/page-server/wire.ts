/**
 * The page-server protocol as CRIU speaks it, written from its description and not from ckpt's own code, so that one
 * can be held against the other (CRIU criu/include/page-xfer.h). Addresses are bytes here, as on the wire.
 */

/** The header as of CRIU 3.5 to 4.1 (24 bytes), or as of 4.2 (32 bytes). */
export type WireLayout = '3.17' | '4.2';

export const WIRE_LAYOUTS: readonly WireLayout[] = ['3.17', '4.2'];

export const COMMAND = {
  add: 1,
  hole: 2,
  open: 3,
  open2: 4,
  parent: 5,
  addFlags: 6,
  get: 7,
  close: 0x1023,
  forceClose: 0x1024,
} as const;

/** Flags of a pagemap entry. */
export const FLAG = { parent: 1, lazy: 2, present: 4 } as const;

export interface WireHeader {
  readonly command: number;
  readonly flags: number;
  readonly pageCount: number;
  readonly address: bigint;
  readonly destination: bigint;
}

export const headerBytesOf = (layout: WireLayout) => (layout === '3.17' ? 24 : 32);

export const taskDestination = (pid: number) => (BigInt(pid) << 8n) | 1n;
export const sharedDestination = (id: number) => (BigInt(id) << 8n) | 2n;

/** @param pad what the padding of the 4.2 layout holds: CRIU leaves there what was in memory. */
export function encodeHeader(layout: WireLayout, header: Partial<WireHeader>, pad = 0): Buffer {
  const { command = 0, flags = 0, pageCount = 0, address = 0n, destination = 0n } = header;
  const bytes = Buffer.alloc(headerBytesOf(layout));
  bytes.writeUInt16LE(command, 0);
  bytes.writeUInt16LE(flags, 2);
  if (layout === '3.17') {
    bytes.writeUInt32LE(pageCount, 4);
    bytes.writeBigUInt64LE(address, 8);
    bytes.writeBigUInt64LE(destination, 16);
  } else {
    bytes.writeUInt32LE(pad, 4);
    bytes.writeBigUInt64LE(BigInt(pageCount), 8);
    bytes.writeBigUInt64LE(address, 16);
    bytes.writeBigUInt64LE(destination, 24);
  }
  return bytes;
}

export function decodeHeader(layout: WireLayout, bytes: Buffer): WireHeader {
  const isOld = layout === '3.17';
  return {
    command: bytes.readUInt16LE(0),
    flags: bytes.readUInt16LE(2),
    pageCount: isOld ? bytes.readUInt32LE(4) : Number(bytes.readBigUInt64LE(8)),
    address: bytes.readBigUInt64LE(isOld ? 8 : 16),
    destination: bytes.readBigUInt64LE(isOld ? 16 : 24),
  };
}
