/** The listening end of the channel that `benchWire` measures, in a process of its own. */
import { createServer } from 'node:net';
import { listenForChannels, type Security } from '../../src/migration/index.ts';

/** What this process is started with. */
export type WirePeerTask =
  | { readonly kind: 'tcp' }
  | { readonly kind: 'channel'; readonly security: Security };

const LOOPBACK = { host: '127.0.0.1', port: 0 };

async function listen(task: WirePeerTask): Promise<number> {
  if (task.kind === 'channel') {
    const { address } = await listenForChannels(LOOPBACK, { security: task.security }, async (channel) => {
      for await (const message of channel) {
        if (message.type === 'commit') await channel.send({ ...message, type: 'started', pid: 0 });
      }
      await channel.close();
    });
    return address.port;
  }
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('data', () => {});
    socket.on('end', () => socket.end('all of it'));
  });
  await new Promise<void>((resolve) => server.listen(LOOPBACK.port, LOOPBACK.host, resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

process.once('message', (task: WirePeerTask) => {
  void listen(task).then((port) => process.send?.(port));
});
