import { once } from 'node:events';
import { createServer, isIP, type Server, type Socket } from 'node:net';
import { checkServerIdentity, createServer as createTlsServer, type TLSSocket } from 'node:tls';
import { PeerError, UsageError } from '../../../core/index.ts';
import { PeerStream } from './peer-stream.ts';

/** Who may connect, and who can read along. */
export type PeerSecurity =
  /** CRIU's --tls: both ends show a certificate of the CA (criu/tls.c). */
  | {
      readonly kind: 'tls';
      /** PEM, as are the others. */
      readonly caCertificates: string;
      readonly revocations: string | undefined;
      readonly certificate: string;
      readonly key: string;
      /** Whether the other end's certificate must be for the address that it comes from, or that is listened on. */
      readonly verifyName: boolean;
    }
  /** Whom this function lets in; for loopback addresses. */
  | { readonly kind: 'same-user'; readonly require: (socket: Socket) => Promise<void> }
  | { readonly kind: 'insecure' };

/** Where and how to listen. */
export interface ListenRequest {
  readonly address: string;
  /** 0 for one that the kernel chooses. */
  readonly port: number;
  readonly security: PeerSecurity;
  /** Called for each connection that is let in. */
  readonly onPeer: (stream: PeerStream) => void;
  /** Told of those that are not, and why. */
  readonly onRefused: (peer: string, reason: string) => void;
}

/** A port that is listened on. */
export interface PeerListener {
  readonly address: string;
  readonly port: number;
  /** Stops listening; connections that were let in stay. */
  close(): void;
}

// `allowHalfOpen` below: who has said everything may close its side and still gets its answers.

/** Connections at a time, idle ones included. */
const MAX_CONNECTIONS = 64;

const HANDSHAKE_MILLISECONDS = 30_000;

/** Listens for peers of CRIU. @throws UsageError if the address cannot be listened on */
export async function listenForPeers(request: ListenRequest): Promise<PeerListener> {
  const { address, port } = request;
  const server = request.security.kind === 'tls' ? tlsServer(request) : plainServer(request);
  server.maxConnections = MAX_CONNECTIONS;
  server.on('drop', (from) => {
    const peer = formatPeer(from?.remoteAddress, from?.remotePort);
    request.onRefused(peer, `${MAX_CONNECTIONS} others are connected`);
  });
  try {
    server.listen(port, address);
    await once(server, 'listening');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const why = LISTEN_FAILURES[code ?? ''] ?? message;
    throw new UsageError(`cannot listen on ${formatPeer(address, port)}: ${why}`, {
      hint: 'choose another address or port, or 0 for any port that is free',
      cause,
    });
  }
  const bound = server.address();
  return {
    address,
    port: bound !== null && typeof bound === 'object' ? bound.port : port,
    close: () => void server.close(),
  };
}

const LISTEN_FAILURES: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there',
  EADDRNOTAVAIL: 'this machine does not have that address',
  EACCES: 'ports below 1024 need more rights',
  ENOTFOUND: 'there is no address of that name',
};

function plainServer(request: ListenRequest): Server {
  const { security } = request;
  return createServer({ allowHalfOpen: true }, (socket) => {
    admit(request, socket, async () => {
      if (security.kind === 'same-user') await security.require(socket);
    });
  });
}

function tlsServer(request: ListenRequest): Server {
  const { security } = request;
  if (security.kind !== 'tls') throw new RangeError('a TLS server needs certificates');
  const { caCertificates, revocations, certificate, key } = security;
  const server = createTlsServer(
    {
      ca: caCertificates,
      ...(revocations === undefined ? {} : { crl: revocations }),
      cert: certificate,
      key,
      // Not 1.3: a server of Node then sends session tickets, and CRIU takes such a record for an answer that does not
      // come (criu/tls.c: GnuTLS returns GNUTLS_E_AGAIN for it).
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.2',
      requestCert: true,
      // Refused below, where the reason can be told.
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_MILLISECONDS,
      allowHalfOpen: true,
    },
    (socket) => admit(request, socket, async () => requireTrusted(socket, request)),
  );
  server.on('tlsClientError', (error, socket) => {
    request.onRefused(nameOf(socket), `no TLS connection came about: ${plainReason(error)}`);
  });
  return server;
}

/** Lets a connection in, or says why not. */
function admit(request: ListenRequest, socket: Socket, check: () => Promise<void>): void {
  // Made at once: nobody else listens for the end of the connection.
  const stream = new PeerStream(socket, nameOf(socket));
  check().then(
    () => request.onPeer(stream),
    (error: Error) => {
      stream.abort(error);
      request.onRefused(stream.peer, error.message);
    },
  );
}

function requireTrusted(socket: TLSSocket, { address, security }: ListenRequest): void {
  const certificate = socket.getPeerCertificate();
  const isMissing = certificate.fingerprint256 === undefined;
  if (!socket.authorized || isMissing) {
    const why = isMissing ? 'there is none' : String(socket.authorizationError);
    throw new PeerError(`its certificate is not trusted: ${why}`);
  }
  if (security.kind !== 'tls' || !security.verifyName) return;
  const names = [address, socket.remoteAddress?.replace(/^::ffff:/i, '')];
  const isNamed = names.some((name) => name !== undefined && !checkServerIdentity(name, certificate));
  if (!isNamed) {
    throw new PeerError(
      `its certificate is neither for ${names[1]} nor for ${address}; --tls-no-cn-verify allows that`,
    );
  }
}

/** OpenSSL's errors carry source lines around the words that matter. */
function plainReason(error: Error): string {
  const reason: unknown = Reflect.get(error, 'reason');
  return typeof reason === 'string' ? reason : error.message;
}

const nameOf = ({ remoteAddress, remotePort }: Socket) => formatPeer(remoteAddress, remotePort);

/** `192.0.2.7:7000` or `[2001:db8::7]:7000`. */
export function formatPeer(address: string | undefined, port: number | undefined): string {
  const host = address?.replace(/^::ffff:/i, '') ?? 'somebody';
  return `${isIP(host) === 6 ? `[${host}]` : host}:${port ?? 0}`;
}
