import { createPrivateKey, X509Certificate } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { createSecureContext } from 'node:tls';
import { UsageError } from '../../core/index.ts';
import { formatPeerAddress, isLoopback } from './address.ts';
import type { PeerAddress, Security } from './options.ts';

/** What the user says about security; names as CRIU's options. */
export interface SecurityOptions {
  readonly tls?: boolean | undefined;
  readonly tlsCacert?: string | undefined;
  readonly tlsCacrl?: string | undefined;
  readonly tlsCert?: string | undefined;
  readonly tlsKey?: string | undefined;
  readonly tlsNoCnVerify?: boolean | undefined;
  readonly keyFile?: string | undefined;
  readonly insecure?: boolean | undefined;
}

/** Where CRIU looks for certificates unless told otherwise (criu/tls.c). */
const DEFAULT_FILES = {
  tlsCacert: '/etc/pki/CA/cacert.pem',
  tlsCacrl: '/etc/pki/CA/cacrl.pem',
  tlsCert: '/etc/pki/criu/cert.pem',
  tlsKey: '/etc/pki/criu/private/key.pem',
} as const;

/** A shorter key could be guessed. */
const MIN_KEY_BYTES = 32;

/** No key or certificate file is as long. */
const MAX_FILE_BYTES = 1024 * 1024;

const CHOICES_HINT =
  'give --tls with certificates, or --key-file, or, where every host on the way is trusted, --insecure';

/**
 * Reads keys and certificates for a channel with `address`, to connect to or to listen on. Without any option a
 * loopback address is for processes of the same user, and no other address will do.
 * @throws UsageError for options that contradict each other, lack another, or name a file that cannot be used.
 */
export async function loadSecurity(options: SecurityOptions, address: PeerAddress): Promise<Security> {
  const kinds = [
    ['--tls', options.tls],
    ['--key-file', options.keyFile],
    ['--insecure', options.insecure],
  ].flatMap(([name, value]) => (value === undefined || value === false ? [] : [name]));
  if (kinds.length > 1) throw new UsageError(`${kinds.join(' and ')} exclude each other`);
  if (options.tls !== true) forbidTlsOptions(options);
  if (options.tls === true) return loadCertificates(options);
  if (options.keyFile !== undefined) return { kind: 'shared-key', key: await readKeyFile(options.keyFile) };
  if (options.insecure === true) return { kind: 'insecure' };
  if (isLoopback(address.host)) return { kind: 'same-user' };
  throw new UsageError(`${formatPeerAddress(address)} is not a loopback address and needs security`, {
    hint: CHOICES_HINT,
  });
}

function forbidTlsOptions(options: SecurityOptions): void {
  const given = [
    ['--tls-cacert', options.tlsCacert],
    ['--tls-cacrl', options.tlsCacrl],
    ['--tls-cert', options.tlsCert],
    ['--tls-key', options.tlsKey],
    ['--tls-no-cn-verify', options.tlsNoCnVerify],
  ].find(([, value]) => value !== undefined);
  if (given !== undefined) throw new UsageError(`${given[0]} is of no use without --tls`);
}

async function loadCertificates(options: SecurityOptions): Promise<Security> {
  const caCertificates = await readPem('--tls-cacert', options.tlsCacert ?? DEFAULT_FILES.tlsCacert);
  const certificate = await readPem('--tls-cert', options.tlsCert ?? DEFAULT_FILES.tlsCert);
  const key = await readSecret('--tls-key', options.tlsKey ?? DEFAULT_FILES.tlsKey, 0o007);
  const revocations =
    options.tlsCacrl === undefined
      ? await readPem('--tls-cacrl', DEFAULT_FILES.tlsCacrl).catch(ifMissing)
      : await readPem('--tls-cacrl', options.tlsCacrl);
  const security = {
    kind: 'tls',
    caCertificates,
    revocations,
    certificate,
    key: key.toString('utf8'),
    verifyName: options.tlsNoCnVerify !== true,
  } as const;
  checkTogether(security);
  return security;
}

/** Only a list that is not there revokes nothing; one that cannot be read might. */
function ifMissing(error: unknown): undefined {
  const cause = error instanceof Error ? error.cause : undefined;
  if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
  throw error;
}

/** Has OpenSSL read everything, so that a wrong file is a message before anybody connects. */
function checkTogether(security: Extract<Security, { kind: 'tls' }>): void {
  const { caCertificates: ca, revocations, certificate: cert, key } = security;
  // A file without certificates counts as no authority at all, which createSecureContext accepts.
  const parts: readonly [string, () => unknown][] = [
    ['--tls-cacert', () => new X509Certificate(ca)],
    ['--tls-cacrl', () => revocations !== undefined && createSecureContext({ crl: revocations })],
    ['--tls-cert', () => new X509Certificate(cert)],
    ['--tls-key', () => createPrivateKey(key)],
  ];
  for (const [option, read] of parts) {
    try {
      read();
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new UsageError(`${option} cannot be used: ${reason}`, {
        hint: 'it must be a PEM file, a key without a passphrase',
        cause,
      });
    }
  }
  if (!new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) {
    throw new UsageError('--tls-cert and --tls-key do not belong together');
  }
}

async function readPem(option: string, path: string): Promise<string> {
  return (await readSecret(option, path, 0)).toString('utf8');
}

/**
 * The shared key: the whole file, byte for byte.
 * @throws UsageError if others may read it, or it is shorter than 32 bytes.
 */
async function readKeyFile(path: string): Promise<Uint8Array> {
  const key = await readSecret('--key-file', path, 0o077);
  if (key.length >= MIN_KEY_BYTES) return key;
  throw new UsageError(`--key-file ${path} holds ${key.length} bytes; a key has at least ${MIN_KEY_BYTES}`, {
    hint: `make one: (umask 077; head -c 32 /dev/urandom > ${path}), and copy it to the other end`,
  });
}

/** Reads a small file, which must not have any of the `forbidden` mode bits. */
async function readSecret(option: string, path: string, forbidden: number): Promise<Buffer> {
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
    const { mode } = await file.stat();
    if ((mode & forbidden) !== 0) {
      throw new UsageError(
        `${option} ${path} can be read by others (its mode is ${(mode & 0o777).toString(8).padStart(4, '0')})`,
        { hint: `chmod 600 ${path}, and make a new one if somebody may have seen it` },
      );
    }
    const content = await readAtMost(file, MAX_FILE_BYTES + 1);
    if (content.length <= MAX_FILE_BYTES) return content;
    throw new UsageError(`${option} ${path} is too long for what it should be`);
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(`${option} ${path} cannot be read: ${reason}`, { cause });
  } finally {
    await file?.close();
  }
}

/** What a file begins with; a pipe or a device does not tell its size. */
async function readAtMost(file: FileHandle, bytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(bytes);
  let length = 0;
  for (;;) {
    const { bytesRead } = await file.read(buffer, length, bytes - length);
    length += bytesRead;
    if (bytesRead === 0) return buffer.subarray(0, length);
  }
}
