import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { UsageError } from '../../../src/core/index.ts';
import { formatPeerAddress, isLoopback, parsePeerAddress } from '../../../src/migration/wire/address.ts';
import { loadSecurity } from '../../../src/migration/wire/credentials.ts';

describe('an address', () => {
  it.each([
    ['192.0.2.7:7000', '192.0.2.7', 7000],
    ['[2001:db8::7]:7000', '2001:db8::7', 7000],
    ['[fe80::1%eth0]:1', 'fe80::1%eth0', 1],
    ['receiver.example:65535', 'receiver.example', 65535],
    ['localhost:0', 'localhost', 0],
  ])('%s is taken apart and put together again', (text, host, port) => {
    expect(parsePeerAddress(text)).toEqual({ host, port });
    expect(formatPeerAddress({ host, port })).toBe(text);
  });

  it.each([
    ['192.0.2.7', 'is not an address'],
    ['7000', 'is not an address'],
    ['192.0.2.7:', 'is not an address'],
    [':7000', 'names no address before the port'],
    ['192.0.2.7:70000', 'has the port 70000; the greatest is 65535'],
    ['192.0.2.777:7000', 'no valid IPv4 address'],
    ['[192.0.2.7]:7000', 'no IPv6 address between its brackets'],
    ['2001:db8::7:7000', 'is not an address'],
    ['', 'is not an address'],
  ])('%s is refused', (text, message) => {
    expect(() => parsePeerAddress(text)).toThrow(UsageError);
    expect(() => parsePeerAddress(text)).toThrow(message);
  });

  it('of IPv6 without brackets is refused with the way to write it', () => {
    const attempt = () => parsePeerAddress('2001:db8::7:7000');
    expect(attempt).toThrow(expect.objectContaining({ hint: expect.stringContaining('[2001:db8::7]:7000') }));
  });

  it('is one of this machine alone only in 127.0.0.0/8, as ::1 or as localhost', () => {
    for (const host of ['127.0.0.1', '127.8.8.8', '::1', 'localhost', '::ffff:127.0.0.1']) {
      expect(isLoopback(host), host).toBe(true);
    }
    for (const host of ['0.0.0.0', '::', '192.0.2.7', '127.example', 'localhost.example', '128.0.0.1']) {
      expect(isLoopback(host), host).toBe(false);
    }
  });
});

describe('security', () => {
  const loopback = { host: '127.0.0.1', port: 7000 };
  const elsewhere = { host: '0.0.0.0', port: 7000 };
  let folder: string;
  const file = (name: string, bytes: number, mode: number) => {
    const path = join(folder, name);
    writeFileSync(path, Buffer.alloc(bytes, 7));
    chmodSync(path, mode);
    return path;
  };

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'ckpt-key-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('is for processes of the user on loopback, and must be said elsewhere', async () => {
    expect(await loadSecurity({}, loopback)).toEqual({ kind: 'same-user' });
    await expect(loadSecurity({}, elsewhere)).rejects.toThrow('0.0.0.0:7000 is not a loopback address');
    expect(await loadSecurity({ insecure: true }, elsewhere)).toEqual({ kind: 'insecure' });
    expect(await loadSecurity({ insecure: true }, loopback)).toEqual({ kind: 'insecure' });
  });

  it('takes a key that is long enough and nobody else can read', async () => {
    const keyFile = file('good', 32, 0o600);
    expect(await loadSecurity({ keyFile }, elsewhere)).toEqual({
      kind: 'shared-key',
      key: Buffer.alloc(32, 7),
    });
    await expect(loadSecurity({ keyFile: file('short', 31, 0o600) }, elsewhere)).rejects.toThrow(
      'holds 31 bytes; a key has at least 32',
    );
    await expect(loadSecurity({ keyFile: file('open', 32, 0o640) }, elsewhere)).rejects.toThrow(
      'can be read by others (its mode is 0640)',
    );
    await expect(loadSecurity({ keyFile: file('long', 1024 * 1024 + 1, 0o600) }, elsewhere)).rejects.toThrow(
      'is too long',
    );
    await expect(loadSecurity({ keyFile: '/dev/zero' }, elsewhere)).rejects.toThrow('can be read by others');
    await expect(loadSecurity({ tls: true, tlsCacert: '/dev/zero' }, elsewhere)).rejects.toThrow(
      'is too long',
    );
    await expect(loadSecurity({ keyFile: join(folder, 'none') }, elsewhere)).rejects.toThrow(
      'cannot be read',
    );
    await expect(loadSecurity({ keyFile: folder }, elsewhere)).rejects.toThrow(UsageError);
  });

  it('takes one kind at a time', async () => {
    await expect(loadSecurity({ tls: true, insecure: true }, loopback)).rejects.toThrow(
      '--tls and --insecure exclude each other',
    );
    await expect(loadSecurity({ tlsCert: 'x' }, loopback)).rejects.toThrow(
      '--tls-cert is of no use without --tls',
    );
    await expect(loadSecurity({ tlsNoCnVerify: true }, loopback)).rejects.toThrow('of no use without --tls');
  });
});
