import { constants, hkdfSync } from 'node:crypto';
import { type ConnectionOptions, checkServerIdentity, type TLSSocket, type TlsOptions } from 'node:tls';
import { PeerError } from '../../core/index.ts';
import type { Security } from './options.ts';

/** Security that runs in TLS. */
export type TlsSecurity = Extract<Security, { kind: 'tls' | 'shared-key' }>;

export const usesTls = (security: Security): security is TlsSecurity =>
  security.kind === 'tls' || security.kind === 'shared-key';

/** Says which of its keys a client proves to have; there is but one. */
const PSK_IDENTITY = 'ckpt';

/** OpenSSL ties an external pre-shared key to SHA-256, and so to the suites of TLS 1.3 that use it (RFC 8446, 4.2.11). */
const PSK_SUITES = 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256';

const SAME_SECURITY_HINT = 'give both ends the same one of --tls, --key-file and --insecure';

/**
 * The TLS side of the listener: without the shared key there is no connection; whether the client's certificate can be
 * trusted is for `identityOf` to say.
 */
export function serverTlsOptions(security: TlsSecurity): TlsOptions {
  // Without tickets every connection proves itself anew.
  const secureOptions = constants.SSL_OP_NO_TICKET;
  if (security.kind === 'shared-key') {
    const psk = pskOf(security.key);
    return {
      secureOptions,
      minVersion: 'TLSv1.3',
      ciphers: PSK_SUITES,
      pskCallback: (_, identity) => (identity === PSK_IDENTITY ? psk : null),
    };
  }
  // `identityOf` refuses: Node would close the connection without a word to anybody.
  return { secureOptions, ...certificateOptions(security), requestCert: true, rejectUnauthorized: false };
}

/** The TLS side of the connecting end. */
export function clientTlsOptions(security: TlsSecurity, host: string): ConnectionOptions {
  if (security.kind === 'shared-key') {
    const psk = pskOf(security.key);
    return {
      minVersion: 'TLSv1.3',
      ciphers: PSK_SUITES,
      // No certificate stands in for the key, whoever signed it.
      ca: [],
      rejectUnauthorized: true,
      pskCallback: () => ({ psk, identity: PSK_IDENTITY }),
    };
  }
  const isName = /[^\d.:]/.test(host) && !host.includes(':');
  return {
    ...certificateOptions(security),
    rejectUnauthorized: true,
    ...(isName ? { servername: host } : {}),
    checkServerIdentity: (_, certificate) =>
      security.verifyName ? checkServerIdentity(host, certificate) : undefined,
  };
}

function certificateOptions(security: Extract<Security, { kind: 'tls' }>) {
  const { caCertificates, revocations, certificate, key } = security;
  return {
    minVersion: 'TLSv1.2',
    ca: caCertificates,
    ...(revocations === undefined ? {} : { crl: revocations }),
    cert: certificate,
    key,
  } as const;
}

/** A key of the right length for TLS, whatever the length of the shared one, and of no use for anything else. */
function pskOf(key: Uint8Array): Buffer {
  return Buffer.from(hkdfSync('sha256', key, new Uint8Array(0), 'ckpt migration, shared key, version 1', 32));
}

/**
 * Who is at the other end of a secured connection: what must be equal for it to go on with a session.
 * @throws PeerError if the connection is not as secure as was asked for.
 */
export function identityOf(socket: TLSSocket, security: TlsSecurity): string {
  if (security.kind === 'shared-key') {
    // TLS 1.3 treats a pre-shared key as a resumed session; without one there would be a certificate.
    if (!socket.isSessionReused() || socket.getProtocol() !== 'TLSv1.3') {
      throw new PeerError('the other end did not prove that it has the shared key', {
        hint: SAME_SECURITY_HINT,
      });
    }
    return 'shared-key';
  }
  const { fingerprint256 } = socket.getPeerCertificate();
  if (!socket.authorized || fingerprint256 === undefined) {
    const why = fingerprint256 === undefined ? 'there is none' : String(socket.authorizationError);
    throw new PeerError(`the certificate of the connecting end is not trusted: ${why}`, {
      hint: "the --tls-cert of 'ckpt migrate' must be signed by the --tls-cacert of 'ckpt receive'",
    });
  }
  return fingerprint256;
}

/** A sentence for what OpenSSL or Node say when a secured connection fails. */
export function tlsFailure(error: NodeJS.ErrnoException, security: TlsSecurity): PeerError {
  const code = error.code ?? '';
  const details = { cause: error, data: { code } };
  if (/WRONG_VERSION_NUMBER|HTTP_REQUEST|PACKET_LENGTH_TOO_LONG|UNSUPPORTED_PROTOCOL$/.test(code)) {
    return new PeerError('the other end does not speak TLS', { ...details, hint: SAME_SECURITY_HINT });
  }
  if (security.kind === 'shared-key') {
    return new PeerError('the other end does not have the same shared key', {
      ...details,
      hint: 'both ends need the same --key-file, and neither --tls nor --insecure',
    });
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return new PeerError(`the other end's certificate is for another name: ${error.message}`, {
      ...details,
      hint: 'connect by a name in the certificate, or give --tls-no-cn-verify',
    });
  }
  if (/ALERT|CERTIFICATE_REQUIRED|PEER_DID_NOT_RETURN_A_CERTIFICATE/.test(code)) {
    return new PeerError(`no TLS connection came about: ${plainReason(error)}`, {
      ...details,
      hint: "each end's --tls-cert must be signed by the other end's --tls-cacert, valid, and not revoked",
    });
  }
  return new PeerError(`the other end's certificate is not trusted: ${plainReason(error)}`, {
    ...details,
    hint: "the other end's --tls-cert must be signed by this end's --tls-cacert, valid, and not revoked",
  });
}

/** OpenSSL's errors carry source lines around the words that matter. */
function plainReason(error: NodeJS.ErrnoException): string {
  const reason: unknown = Reflect.get(error, 'reason');
  return typeof reason === 'string' ? reason : error.message;
}
