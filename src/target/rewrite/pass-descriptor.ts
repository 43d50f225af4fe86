import { closeSync } from 'node:fs';
import { TargetError } from '../../core/index.ts';
import type { Native } from '../native/calls.ts';
import type { Injector } from '../native/injector.ts';
import { words } from './words.ts';

const AF_UNIX = 1;
/** SOCK_DGRAM | SOCK_CLOEXEC */
const DATAGRAM = 2 | 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CMSG_CLOEXEC = 0x40000000;
const HEADER_BYTES = 56;
/** struct cmsghdr (length, level, type) and one descriptor, padded. */
const CONTROL_BYTES = 24;
const CONTROL_LENGTH = 20;

/**
 * Hands descriptors of ours into a process, over a socket pair that the process makes and of which we take one end: so
 * it gets files that it could not open itself any more, deleted ones, or those that its rights do not reach.
 */
export class DescriptorPassage {
  readonly #native: Native;
  readonly #injector: Injector;
  /** Both ends, inside. */
  readonly #inside: readonly [number, number];
  /** Our copy of the second. */
  readonly #ours: number;

  /** @throws SystemCallError, for instance EMFILE if the process has no descriptor to spare */
  constructor(native: Native, injector: Injector, pid: number) {
    this.#native = native;
    this.#injector = injector;
    const address = injector.writeScratch(new Uint8Array(8));
    injector.call('socketpair', AF_UNIX, DATAGRAM, 0, address);
    const ends = new DataView(injector.readScratch(0, 8).buffer);
    this.#inside = [ends.getInt32(0, true), ends.getInt32(4, true)];
    const pidfd = native.pidfdOpen(pid);
    try {
      this.#ours = native.pidfdGetfd(pidfd, this.#inside[1]);
    } finally {
      closeSync(pidfd);
    }
  }

  /**
   * @param descriptor of ours; it stays open
   * @returns a descriptor of the process for the same open file, close-on-exec, at the lowest free number
   */
  pass(descriptor: number): number {
    this.#send(descriptor);
    return this.#receive();
  }

  /** Closes the sockets; descriptors that were passed stay. */
  close(): void {
    closeSync(this.#ours);
    for (const end of this.#inside) this.#injector.call('close', end);
  }

  #send(descriptor: number): void {
    const payload = Uint8Array.of(1);
    const vector = words(this.#native.addressOf(payload), payload.length);
    const control = controlMessage(descriptor);
    const header = messageHeader(this.#native.addressOf(vector), this.#native.addressOf(control));
    this.#native.call('sendmsg of a descriptor', 'sendmsg', this.#ours, this.#native.addressOf(header), 0);
  }

  #receive(): number {
    const injector = this.#injector;
    const at = injector.scratchAddress;
    const [payloadAt, vectorAt, controlAt, headerAt] = [0, 16, 64, 128];
    injector.writeScratch(words(at + BigInt(payloadAt), 1), vectorAt);
    injector.writeScratch(controlMessage(-1), controlAt);
    injector.writeScratch(messageHeader(at + BigInt(vectorAt), at + BigInt(controlAt)), headerAt);
    injector.call('recvmsg', this.#inside[0], at + BigInt(headerAt), MSG_CMSG_CLOEXEC);
    const control = new DataView(injector.readScratch(controlAt, CONTROL_BYTES).buffer);
    const received = control.getInt32(16, true);
    if (control.getUint32(12, true) !== SCM_RIGHTS || received < 0) {
      throw new TargetError('a descriptor did not reach the process: it may have none to spare (ulimit -n)');
    }
    return received;
  }
}

/** struct msghdr: name, its length, the vector, its length, control, its length, flags. */
function messageHeader(vector: bigint, control: bigint): Uint8Array {
  const header = words(0, 0, vector, 1, control, CONTROL_BYTES, 0);
  if (header.length !== HEADER_BYTES) throw new RangeError('struct msghdr has seven words');
  return header;
}

function controlMessage(descriptor: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(CONTROL_BYTES));
  view.setBigUint64(0, BigInt(CONTROL_LENGTH), true);
  view.setInt32(8, SOL_SOCKET, true);
  view.setInt32(12, SCM_RIGHTS, true);
  view.setInt32(16, descriptor, true);
  return new Uint8Array(view.buffer);
}
