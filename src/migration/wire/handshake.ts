import { ByteReader, ByteWriter, PeerError } from '../../core/index.ts';
import { bytes, choice, type Field, integer, record, text, type ValueOf } from './fields.ts';

/** Versions of the protocol that this ckpt speaks. */
export const WIRE_VERSION = 1;
const LEAST_WIRE_VERSION = 1;

/** What both ends send first: magic, newest version, oldest version, zeros. */
export const PREAMBLE_BYTES = 16;
const MAGIC = 'ckpt-mig';

export const TOKEN_BYTES = 32;

/** TCP connections of one channel. */
export const MAX_CONNECTIONS = 16;

/** Windows that an end may ask for: at least two of the longest frames. */
export const MIN_WINDOW_BYTES = 4 * 1024 * 1024;
export const MAX_WINDOW_BYTES = 256 * 1024 * 1024;

/** From the connecting end: a new session. `windowBytes` is what the sender of the frame is ready to receive. */
const OPEN = record({ windowBytes: integer(MAX_WINDOW_BYTES), connections: integer(MAX_CONNECTIONS) });

/** One more connection of a session, or one instead of a lost one; `received` and `credit` as in an acknowledgement. */
const JOIN = record({
  token: bytes(TOKEN_BYTES),
  slot: integer(MAX_CONNECTIONS - 1),
  received: integer(),
  credit: integer(),
});

/** The answer: the session's token and the state of the listening end. */
const ACCEPT = record({
  token: bytes(TOKEN_BYTES),
  windowBytes: integer(MAX_WINDOW_BYTES),
  received: integer(),
  credit: integer(),
});

const MAX_DETAIL_BYTES = 800;

const REFUSE = record({
  reason: choice('unknown-session', 'finished', 'busy', 'protocol', 'not-trusted'),
  detail: text(512),
});

const ACKNOWLEDGEMENT = record({ received: integer(), credit: integer() });

/** The payloads of frames that are not messages. */
export const PAYLOADS = {
  open: OPEN,
  join: JOIN,
  accept: ACCEPT,
  refuse: REFUSE,
  acknowledgement: ACKNOWLEDGEMENT,
};

export type Refusal = ValueOf<typeof REFUSE>;
export type Acknowledgement = ValueOf<typeof ACKNOWLEDGEMENT>;

export function encodePayload<Value>(format: Field<Value>, value: Value): Uint8Array {
  const writer = new ByteWriter(64);
  format.write(writer, value);
  return writer.view();
}

/** What goes into a refusal. */
export function encodeRefusal(reason: Refusal['reason'], detail: string): Uint8Array {
  return encodePayload(REFUSE, { reason, detail: detail.slice(0, MAX_DETAIL_BYTES / 4) });
}

/** @throws PeerError for a payload that is not of this format. */
export function decodePayload<Value>(format: Field<Value>, payload: Uint8Array, what: string): Value {
  const reader = new ByteReader(payload, what);
  try {
    const value = format.read(reader);
    reader.expectEnd();
    return value;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new PeerError(`${error.message}`, { cause: error });
  }
}

/** The 16 bytes that this ckpt begins with. */
export function preamble(): Uint8Array {
  const bytes = Buffer.alloc(PREAMBLE_BYTES);
  bytes.write(MAGIC, 'latin1');
  bytes.writeUInt16LE(WIRE_VERSION, 8);
  bytes.writeUInt16LE(LEAST_WIRE_VERSION, 10);
  return bytes;
}

/**
 * Judges as many bytes of a preamble as have arrived.
 * @returns whether it is complete.
 * @throws PeerError if it is not one of ckpt, or of a ckpt whose versions are others.
 */
export function checkPreamble(arrived: Uint8Array): boolean {
  const head = Buffer.from(arrived.subarray(0, MAGIC.length));
  if (!MAGIC.startsWith(head.toString('latin1'))) throw notCkpt(head);
  if (arrived.length < PREAMBLE_BYTES) return false;
  const view = new DataView(arrived.buffer, arrived.byteOffset, PREAMBLE_BYTES);
  const newest = view.getUint16(8, true);
  const oldest = view.getUint16(10, true);
  if (oldest > WIRE_VERSION || newest < LEAST_WIRE_VERSION) {
    throw new PeerError(
      `the other end speaks versions ${oldest} to ${newest} of the migration protocol, this ckpt ${LEAST_WIRE_VERSION} to ${WIRE_VERSION}`,
      { hint: 'use the same release of ckpt on both ends', data: { newest, oldest } },
    );
  }
  return true;
}

function notCkpt(head: Buffer): PeerError {
  if (head[0] === 0x16) {
    return new PeerError('the other end speaks TLS, this end does not', {
      hint: 'give both ends the same one of --tls, --key-file and --insecure',
    });
  }
  if (head[0] === 0x15) {
    return new PeerError('the other end expects TLS', {
      hint: 'give both ends the same one of --tls, --key-file and --insecure',
    });
  }
  const shown = JSON.stringify(head.toString('latin1').replace(/[^ -~]/g, '.'));
  return new PeerError(`the other end does not speak ckpt's migration protocol: it began with ${shown}`, {
    hint: "check the address and port; 'ckpt receive' must listen there",
  });
}
