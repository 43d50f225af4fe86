import { PeerError } from '../../../src/core/index.ts';
import { openChannel } from '../../../src/migration/wire/connect.ts';
import { Connection } from '../../../src/migration/wire/connection.ts';
import type { Session } from '../../../src/migration/wire/session.ts';
import { SessionTable } from '../../../src/migration/wire/session-table.ts';
import { duplexPair, type PipeEnd, type WireFaults } from './duplex-pair.ts';

export interface SessionPairOptions {
  readonly connections?: number;
  readonly windowBytes?: number;
  readonly giveUpMilliseconds?: number;
  readonly silenceMilliseconds?: number;
  /**
   * What goes wrong on the connections, in the order in which they are made; nothing on later ones. Bytes of the first
   * are counted from behind its handshake, without which there is no channel.
   */
  readonly faults?: readonly WireFaults[];
  /** After so many connections in all no more can be made. */
  readonly mostConnections?: number;
}

export interface SessionPair {
  /** The connecting end. */
  readonly first: Session;
  /** The listening end. */
  readonly second: Session;
  /** The first end of every connection so far. */
  readonly wires: readonly PipeEnd[];
  /** What happened below the connecting end. */
  readonly events: string[];
}

/** Bytes that the connecting end sends before its first message. */
const HANDSHAKE_BYTES = 16 + 24 + 5;

const explain = (error: Error) => new PeerError(error.message);

/** Both ends of a channel as they are, but over connections in memory; lost ones are made again. */
export async function sessionPair(options: SessionPairOptions = {}): Promise<SessionPair> {
  const [onFirst = {}, ...onOthers] = options.faults ?? [];
  const faults = [behindHandshake(onFirst), ...onOthers];
  const wires: PipeEnd[] = [];
  const events: string[] = [];
  const common = {
    windowBytes: options.windowBytes ?? 4 * 1024 * 1024,
    giveUpMicroseconds: (options.giveUpMilliseconds ?? 2000) * 1000,
    silenceMicroseconds: (options.silenceMilliseconds ?? 2000) * 1000,
  };
  let second: Session | undefined;
  const table = new SessionTable({ ...common, security: { kind: 'insecure' } }, (channel) => {
    second = channel;
  });
  const listen = async (far: PipeEnd) => {
    const connection = new Connection(far, 'the first', explain);
    await connection.preambleArrived();
    connection.sendPreamble();
    await table.admit(connection, '');
  };
  const first = await openChannel(
    async (use) => {
      if (wires.length >= (options.mostConnections ?? Number.POSITIVE_INFINITY)) {
        throw new PeerError('no more connections can be made');
      }
      const [near, far] = duplexPair(faults.shift());
      wires.push(near);
      // What goes wrong in handshakes is told to the first end, or lost with the connection.
      listen(far).catch(() => far.destroy());
      const connection = new Connection(near, 'the second', explain);
      connection.sendPreamble();
      await connection.preambleArrived();
      return use(connection);
    },
    { ...common, connections: options.connections ?? 1, onEvent: ({ kind }) => events.push(kind) },
  );
  if (second === undefined) throw new Error('the listening end has no channel');
  return { first, second, wires, events };
}

function behindHandshake({ cutAfterBytes, hangAfterBytes, alter, ...others }: WireFaults): WireFaults {
  return {
    ...others,
    ...(cutAfterBytes === undefined ? {} : { cutAfterBytes: HANDSHAKE_BYTES + cutAfterBytes }),
    ...(hangAfterBytes === undefined ? {} : { hangAfterBytes: HANDSHAKE_BYTES + hangAfterBytes }),
    ...(alter === undefined
      ? {}
      : {
          alter: (byte, position) =>
            position < HANDSHAKE_BYTES ? byte : alter(byte, position - HANDSHAKE_BYTES),
        }),
  };
}
