import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:tls';
import { PeerError, UsageError } from '../../core/index.ts';
import { formatPeerAddress } from './address.ts';
import { Connection } from './connection.ts';
import { FRAME_TYPES } from './frame.ts';
import { encodeRefusal } from './handshake.ts';
import {
  type ChannelHandler,
  type ChannelListener,
  DEFAULT_CONNECT_MICROSECONDS,
  type ListenOptions,
  type PeerAddress,
} from './options.ts';
import { requireSameUser } from './same-user.ts';
import { identityOf, serverTlsOptions, usesTls } from './security.ts';
import { SessionTable } from './session-table.ts';
import { explainFailure } from './transport.ts';

/** Connections whose handshake is not over. One more takes the place of the oldest, which has had the most time. */
const MAX_STRANGERS = 64;

/**
 * Listens for `connectChannel`. `onChannel` is called for each new channel, not for connections that join one.
 * @throws UsageError if the address cannot be listened on.
 */
export async function listenForChannels(
  address: PeerAddress,
  options: ListenOptions,
  onChannel: ChannelHandler,
): Promise<ChannelListener> {
  const listener = new Listener(options, onChannel);
  await listener.listen(address);
  return listener;
}

/** A connection whose handshake is not over. */
interface Stranger {
  readonly socket: Socket;
  readonly deadline: NodeJS.Timeout;
}

class Listener implements ChannelListener {
  readonly #options: ListenOptions;
  readonly #sessions: SessionTable;
  readonly #server: Server;
  readonly #tlsServer: TlsServer | undefined;
  /** By `nameOf`, oldest first. */
  readonly #strangers = new Map<string, Stranger>();
  /** Whose TLS handshake it is that runs: when it has failed, its socket does not know its address any more. */
  readonly #handshakeOf = new AsyncLocalStorage<string>();
  #address: PeerAddress = { host: '', port: 0 };

  constructor(options: ListenOptions, onChannel: ChannelHandler) {
    this.#options = options;
    this.#sessions = new SessionTable(options, onChannel);
    const { security } = options;
    if (usesTls(security)) {
      this.#tlsServer = createTlsServer(serverTlsOptions(security), (socket) => {
        void this.#welcome(socket, async () => identityOf(socket, security));
      });
      this.#tlsServer.on('tlsClientError', (error, socket) => {
        this.#refused(this.#handshakeOf.getStore() ?? nameOf(socket), error);
      });
    }
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
  }

  get address(): PeerAddress {
    return this.#address;
  }

  async listen({ host, port }: PeerAddress): Promise<void> {
    try {
      this.#server.listen(port, host);
      await once(this.#server, 'listening');
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      throw new UsageError(
        `cannot listen on ${formatPeerAddress({ host, port })}: ${LISTEN_FAILURES[code ?? ''] ?? message}`,
      );
    }
    const bound = this.#server.address();
    if (bound !== null && typeof bound === 'object')
      this.#address = { host: bound.address, port: bound.port };
  }

  async close(): Promise<void> {
    // Not awaited: it counts as closed only when the connections of all channels are.
    this.#server.close();
    for (const { socket } of this.#strangers.values()) socket.destroy();
  }

  /** A connection of which nothing is known yet. */
  #accept(socket: Socket): void {
    const [oldest] = this.#strangers.values();
    if (oldest !== undefined && this.#strangers.size >= MAX_STRANGERS) {
      oldest.socket.destroy(new PeerError('too many connections had not said who they are'));
    }
    const name = nameOf(socket);
    const deadline = setTimeout(
      () => socket.destroy(new PeerError('it did not say in time who it is')),
      DEFAULT_CONNECT_MICROSECONDS / 1000,
    );
    this.#strangers.set(name, { socket, deadline });
    // A failed handshake tells its reason a moment after it has closed the socket.
    socket.once('close', () =>
      setImmediate(() => this.#refused(name, new PeerError('it closed the connection'))),
    );
    if (this.#tlsServer === undefined) {
      void this.#welcome(socket, () => this.#plainIdentity(socket));
    } else {
      socket.on('error', (error) => this.#refused(name, error));
      this.#handshakeOf.run(name, () => this.#tlsServer?.emit('connection', socket));
    }
  }

  async #plainIdentity(socket: Socket): Promise<string> {
    if (this.#options.security.kind === 'same-user') await requireSameUser(socket);
    return '';
  }

  /** The handshake over a connection that is as secure as it will be. */
  async #welcome(socket: Socket, identify: () => Promise<string>): Promise<void> {
    const name = nameOf(socket);
    const connection = new Connection(socket, name, (error) =>
      explainFailure(error, name, this.#options.security),
    );
    try {
      const identity = await identify().catch((error: unknown) => {
        connection.sendPreamble();
        const detail = error instanceof Error ? error.message : String(error);
        connection.sendFrame(FRAME_TYPES.refuse, 0, 0, encodeRefusal('not-trusted', detail));
        throw error;
      });
      await connection.preambleArrived().finally(() => connection.sendPreamble());
      await this.#sessions.admit(connection, identity);
      this.#forget(name);
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      connection.closeSoon();
      this.#refused(name, error);
    }
  }

  /** The connection is no stranger any more, or gone. */
  #forget(name: string): void {
    clearTimeout(this.#strangers.get(name)?.deadline);
    this.#strangers.delete(name);
  }

  #refused(name: string, error: Error): void {
    if (!this.#strangers.has(name)) return;
    this.#forget(name);
    const { message } = explainFailure(error, name, this.#options.security);
    this.#options.onEvent?.({ kind: 'refused', peer: name, reason: message });
  }
}

/** The other end's address, which tells the connections of a listener apart. */
function nameOf({ remoteAddress, remotePort }: Socket): string {
  return formatPeerAddress({ host: remoteAddress ?? 'somebody', port: remotePort ?? 0 });
}

const LISTEN_FAILURES: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there',
  EADDRNOTAVAIL: 'this machine does not have that address',
  EACCES: 'ports below 1024 need more rights',
  ENOTFOUND: 'there is no address of that name',
};
