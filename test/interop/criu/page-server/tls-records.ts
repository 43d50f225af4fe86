import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** A connection that goes on to a server, and what the server has sent over it. */
export interface Listening {
  readonly port: number;
  /** Lengths of the TLS records from the server so far. */
  recordLengths(): number[];
  close(): void;
}

const HEADER_BYTES = 5;

/** Stands between a client and a server that speak TLS, and notes the records of the server (RFC 8446, 5.1). */
export async function listenToRecords(serverPort: number): Promise<Listening> {
  const sent: Buffer[] = [];
  const sockets: Socket[] = [];
  const proxy = createServer((client) => {
    const server = connect({ host: '127.0.0.1', port: serverPort });
    sockets.push(client, server);
    client.pipe(server);
    server.pipe(client);
    server.on('data', (bytes: Buffer) => sent.push(bytes));
    for (const socket of [client, server]) socket.on('error', () => socket.destroy());
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const address = proxy.address();
  return {
    port: address !== null && typeof address === 'object' ? address.port : 0,
    recordLengths: () => lengthsOf(Buffer.concat(sent)),
    close: () => {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    },
  };
}

function lengthsOf(bytes: Buffer): number[] {
  const lengths: number[] = [];
  for (let at = 0; at + HEADER_BYTES <= bytes.length; at += HEADER_BYTES + (lengths.at(-1) ?? 0)) {
    lengths.push(bytes.readUInt16BE(at + 3));
  }
  return lengths;
}
