import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, TLSSocket } from 'node:tls';
import { PeerError } from '../../core/index.ts';
import { formatPeerAddress } from './address.ts';
import { Connection } from './connection.ts';
import type { PeerAddress, Security } from './options.ts';
import { requireSameUser } from './same-user.ts';
import { clientTlsOptions, identityOf, tlsFailure, usesTls } from './security.ts';

/**
 * Opens a connection to a listener, secured as asked, both preambles exchanged, and hands it to `use`, which does the
 * rest of the handshake. All this may take `timeoutMilliseconds`.
 * @throws PeerError that says why it did not come about.
 */
export async function openConnection<Result>(
  address: PeerAddress,
  security: Security,
  timeoutMilliseconds: number,
  signal: AbortSignal | undefined,
  use: (connection: Connection) => Promise<Result>,
): Promise<Result> {
  const peer = formatPeerAddress(address);
  const explain = (error: unknown) => explainFailure(error, peer, security);
  const socket = openSocket(address, security);
  const timer = setTimeout(
    () => socket.destroy(new PeerError(`${peer} did not answer within ${timeoutMilliseconds / 1000} s`)),
    timeoutMilliseconds,
  );
  const stop = () => socket.destroy(new PeerError(`connecting to ${peer} was given up`));
  signal?.addEventListener('abort', stop);
  if (signal?.aborted) stop();
  try {
    await once(socket, usesTls(security) ? 'secureConnect' : 'connect');
    if (socket instanceof TLSSocket && usesTls(security)) identityOf(socket, security);
    const connection = new Connection(socket, peer, explain);
    connection.sendPreamble();
    await connection.preambleArrived();
    if (security.kind === 'same-user') await requireSameUser(socket);
    return await use(connection);
  } catch (error) {
    socket.on('error', () => {});
    socket.destroy();
    throw explain(error);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
  }
}

function openSocket({ host, port }: PeerAddress, security: Security): Socket {
  const socket = usesTls(security)
    ? connectTls({ host, port, ...clientTlsOptions(security, host) })
    : connectTcp({ host, port });
  socket.setNoDelay(true);
  return socket;
}

const NETWORK_FAILURES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'there is no address of that name',
  EAI_AGAIN: 'the name could not be looked up',
  EHOSTUNREACH: 'there is no route to that host',
  ENETUNREACH: 'there is no route to that network',
  ETIMEDOUT: 'it did not answer',
};

/** A PeerError for whatever ended a connection. */
export function explainFailure(error: unknown, peer: string, security: Security): PeerError {
  if (error instanceof PeerError) return error;
  if (!(error instanceof Error)) return new PeerError(`the connection to ${peer} failed: ${String(error)}`);
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ECONNRESET' || code === 'EPIPE')
    return new PeerError(`${peer} closed the connection`, { cause: error });
  const network = NETWORK_FAILURES[code ?? ''];
  if (network !== undefined || 'syscall' in error) {
    return new PeerError(`the connection to ${peer} failed: ${network ?? error.message}`, {
      hint: "check the address and that 'ckpt receive' listens there",
      cause: error,
      data: { peer, code: code ?? '' },
    });
  }
  return usesTls(security)
    ? tlsFailure(error, security)
    : new PeerError(`the connection to ${peer} failed: ${error.message}`, { cause: error });
}
