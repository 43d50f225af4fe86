import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { PeerError } from '../../../../src/core/index.ts';
import { PeerStream } from '../../../../src/interop/criu/page-server/peer-stream.ts';

const open: { destroy(): unknown }[] = [];
afterEach(() => {
  for (const socket of open.splice(0)) socket.destroy();
});

/** Both ends of a connection. */
async function connection(): Promise<{ readonly client: Socket; readonly stream: PeerStream }> {
  const server = createServer({ allowHalfOpen: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = address !== null && typeof address === 'object' ? address.port : 0;
  const client = connect({ port, host: '127.0.0.1', noDelay: true });
  const [socket]: Socket[] = await once(server, 'connection');
  server.close();
  open.push(client, socket!);
  return { client, stream: new PeerStream(socket!, 'the client') };
}

const numbered = (count: number) =>
  Buffer.from(Uint8Array.from({ length: count }, (_, at) => at * 7 + (at >> 8)));

describe('a stream of a peer', () => {
  it('reads the same however it is cut, on either side', async () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 90_000 }), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(lengths, lengths, async (writes, reads) => {
        const { client, stream } = await connection();
        const total = Math.max(sum(writes), sum(reads));
        const content = numbered(total);
        for (let at = 0, turn = 0; at < total; turn++) {
          const length = writes[turn % writes.length]!;
          client.write(content.subarray(at, at + length));
          at += length;
        }
        client.end();
        const read: Uint8Array[] = [];
        for (let at = 0, turn = 0; at < total; turn++) {
          const target = new Uint8Array(Math.min(reads[turn % reads.length]!, total - at));
          await stream.readInto(target);
          read.push(target);
          at += target.length;
        }
        expect(Buffer.compare(Buffer.concat(read), content)).toBe(0);
        expect(stream.receivedBytes).toBe(total);
        expect(await stream.hasMore(1e6)).toBe(false);
      }),
      { numRuns: 25 },
    );
  });

  it('waits as long as something comes, and no longer', async () => {
    const { client, stream } = await connection();
    const reading = stream.readInto(new Uint8Array(8), 400_000);
    for (let count = 0; count < 6; count++) {
      await new Promise((resolve) => setTimeout(resolve, 120));
      client.write('x');
    }
    await expect(reading).rejects.toThrow('it has sent nothing for 0.4 s');
  });

  it('says that the other end has gone in the middle', async () => {
    const { client, stream } = await connection();
    const reading = stream.readInto(new Uint8Array(8));
    client.end('half');
    await expect(reading).rejects.toThrow(PeerError);
  });
});

const sum = (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0);
