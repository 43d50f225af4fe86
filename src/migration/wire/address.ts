import { isIP } from 'node:net';
import { UsageError } from '../../core/index.ts';
import type { PeerAddress } from './options.ts';

const MAX_PORT = 65535;

/**
 * Parses `ADDR:PORT`, `NAME:PORT` or `[V6]:PORT`.
 * @throws UsageError that says what is wrong with it.
 */
export function parsePeerAddress(text: string): PeerAddress {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):(\d{1,5})$/.exec(text);
  if (match === null) throw new UsageError(`'${text}' is not an address`, { hint: hintFor(text) });
  const [, bracketed, plain, digits] = match;
  const port = Number(digits);
  if (port > MAX_PORT) throw new UsageError(`'${text}' has the port ${port}; the greatest is ${MAX_PORT}`);
  if (bracketed !== undefined && isIP(bracketed.replace(/%.*$/, '')) !== 6) {
    throw new UsageError(`'${text}' has no IPv6 address between its brackets`);
  }
  const host = bracketed ?? plain ?? '';
  if (host === '') throw new UsageError(`'${text}' names no address before the port`, { hint: HINT });
  if (bracketed === undefined && /^[\d.]+$/.test(host) && isIP(host) !== 4) {
    throw new UsageError(`'${text}' has no valid IPv4 address`, { hint: HINT });
  }
  return { host, port };
}

const HINT = 'write ADDR:PORT, for instance 192.0.2.7:7000 or [2001:db8::7]:7000';

function hintFor(text: string): string {
  if (isIP(text) !== 0) return `${HINT}; the port is missing`;
  const bare = /^(.*):(\d+)$/.exec(text);
  if (bare !== null && isIP(bare[1]!) === 6)
    return `write an IPv6 address in brackets: [${bare[1]}]:${bare[2]}`;
  return HINT;
}

export function formatPeerAddress({ host, port }: PeerAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether only this machine can reach that address. A name counts only if it is `localhost`. */
export function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true;
  const v4 = host.replace(/^::ffff:/i, '');
  return isIP(v4) === 4 && v4.startsWith('127.');
}
