import type { MessageFields } from '../images/messages.ts';
import { type FileRecord, PLAIN_FILE } from './file-record.ts';

/** Fields of an entry FILES that are sockets. */
type SocketField = 'isk' | 'usk' | 'psk' | 'nlsk';

/** include/linux/socket.h, include/linux/net.h, include/uapi/linux/in.h, include/net/tcp_states.h */
const AF_INET6 = 10;
const TYPES: Readonly<Record<number, string>> = { 1: 'stream', 2: 'datagram', 3: 'raw', 5: 'seqpacket' };
const PROTOCOLS: Readonly<Record<number, string>> = {
  1: 'icmp',
  6: 'tcp',
  17: 'udp',
  58: 'icmpv6',
  136: 'udplite',
};
const STATES: Readonly<Record<number, string>> = {
  1: 'established',
  2: 'connecting',
  6: 'time-wait',
  7: 'unconnected',
  8: 'close-wait',
  10: 'listening',
};

/** A socket, with what it is connected to among its details, as one line. */
export function describeSocket(field: SocketField, socket: MessageFields): FileRecord {
  const inode = socket.optionalNumber('ino');
  return {
    ...PLAIN_FILE,
    path: inode === undefined ? 'socket' : `socket:[${inode}]`,
    kind: 'socket',
    flags: socket.number('flags'),
    inode: String(inode ?? 0),
    details: [DESCRIPTIONS[field](socket)],
  };
}

const DESCRIPTIONS: Readonly<Record<SocketField, (socket: MessageFields) => string>> = {
  isk: internetText,
  usk: unixText,
  psk: (socket) => `packet, interface ${socket.number('ifindex')}`,
  nlsk: (socket) => `netlink, protocol ${socket.number('protocol')}`,
};

/** `tcp 127.0.0.1:6379 listening`, `tcp [::1]:4711 to [::1]:6379 established`. */
function internetText(socket: MessageFields): string {
  const protocol = socket.number('proto');
  const isSix = socket.number('family') === AF_INET6;
  const end = (address: string, port: string) =>
    `${addressText(socket.numbers(address), isSix)}:${socket.number(port)}`;
  const remote = socket.number('dst_port') === 0 ? '' : ` to ${end('dst_addr', 'dst_port')}`;
  return `${PROTOCOLS[protocol] ?? `protocol ${protocol}`} ${end('src_addr', 'src_port')}${remote} ${stateText(socket)}`;
}

/** Addresses lie in words as the network has them (criu/sk-inet.c). */
function addressText(words: readonly number[], isSix: boolean): string {
  const bytes = words.flatMap((word) => [word & 255, (word >>> 8) & 255, (word >>> 16) & 255, word >>> 24]);
  if (!isSix) return bytes.slice(0, 4).join('.');
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((bytes[index * 2] ?? 0) << 8) | (bytes[index * 2 + 1] ?? 0)).toString(16),
  );
  // A URL has them in their shortest form, in brackets (RFC 5952).
  return new URL(`http://[${groups.join(':')}]/`).hostname;
}

/** `unix stream /run/redis.sock listening`; `@name` for an abstract name. */
function unixText(socket: MessageFields): string {
  const type = socket.number('type');
  const name = Buffer.from(socket.text('name'), 'base64')
    .toString('utf8')
    .replace(/^\0/, '@')
    .replace(/\0$/, '');
  const peer = socket.number('peer');
  const parts = ['unix', TYPES[type] ?? `type ${type}`, name, peer === 0 ? '' : `to socket:[${peer}]`];
  return [...parts, stateText(socket)].filter((part) => part !== '').join(' ');
}

function stateText(socket: MessageFields): string {
  const state = socket.number('state');
  return STATES[state] ?? `state ${state}`;
}
