import { readFile } from 'node:fs/promises';
import { isIP, type Socket } from 'node:net';
import { PeerError } from '../../core/index.ts';
import { isLoopback } from './address.ts';

/** State of an established connection in /proc/net/tcp (TCP_ESTABLISHED, include/net/tcp_states.h). */
const ESTABLISHED = '01';

/**
 * Proves that the other end of a loopback connection is a process of this user or of root: the kernel tells whose
 * socket it is in /proc/net/tcp (get_tcp4_sock, net/ipv4/tcp_ipv4.c). A socket that nobody holds any more is shown as
 * root's with inode 0, and proves nothing.
 * @throws PeerError if it is somebody else's, or if that cannot be found out.
 */
export async function requireSameUser(socket: Socket): Promise<void> {
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  if (remoteAddress === undefined || localAddress === undefined || !isLoopback(remoteAddress)) {
    throw refusal(`${remoteAddress ?? 'it'} is not a loopback address`);
  }
  const owner = await socketOwner(
    endpoint(remoteAddress, remotePort ?? 0),
    endpoint(localAddress, localPort ?? 0),
  );
  if (owner === undefined) throw refusal('the kernel does not tell whose process it is');
  if (owner === 0) return;
  if (owner !== process.getuid?.()) throw refusal(`it is a process of user ${owner}`);
  // In a user namespace everybody whom it does not know has this number (Documentation/admin-guide/sysctl/fs.rst).
  const nobody = await readFile('/proc/sys/kernel/overflowuid', 'latin1').catch(() => undefined);
  if (nobody === undefined) throw refusal('the kernel does not tell which user can be anybody');
  if (owner === Number(nobody)) throw refusal(`user ${owner} can be anybody`);
}

function refusal(because: string): PeerError {
  return new PeerError(`the other end is not known to be a process of this user: ${because}`, {
    hint: 'use --key-file on both ends, or --insecure if every user of this machine may connect',
  });
}

/** User ID of the established socket with these two ends, its own first. */
async function socketOwner(own: string, other: string): Promise<number | undefined> {
  for (const table of ['tcp', 'tcp6']) {
    // Without IPv6 there is no table of it.
    const text = await readFile(`/proc/self/net/${table}`, 'latin1').catch(() => '');
    const owner = ownerIn(text, own, other);
    if (owner !== undefined) return owner;
  }
  return undefined;
}

/** Whose socket it is that has these two ends, its own first, by the text of /proc/net/tcp or tcp6. */
export function ownerIn(table: string, own: string, other: string): number | undefined {
  for (const line of table.split('\n')) {
    const [, local, remote, state, , , , user, , inode] = line.trim().split(/\s+/);
    if (state !== ESTABLISHED || inode === '0' || local === undefined || remote === undefined) continue;
    if (v4Part(local) === own && v4Part(remote) === other) return Number(user);
  }
  return undefined;
}

/** An IPv4 address inside an IPv6 one, as the IPv4 address that it is. */
const v4Part = (text: string) => text.replace(/^0{16}FFFF0000/, '');

/** Address and port as in /proc/net/tcp: 32-bit words of the address in the machine's byte order. */
export function endpoint(address: string, port: number): string {
  const portPart = port.toString(16).toUpperCase().padStart(4, '0');
  const v4 = address.replace(/^::ffff:/i, '');
  if (isIP(v4) !== 4) return `00000000000000000000000001000000:${portPart}`;
  const bytes = v4.split('.').map((part) => Number(part).toString(16).toUpperCase().padStart(2, '0'));
  return `${bytes.reverse().join('')}:${portPart}`;
}
