import { describe, expect, it } from 'vitest';
import type { Channel } from '../../../src/migration/wire/channel.ts';
import { connectChannel } from '../../../src/migration/wire/connect.ts';
import { listenForChannels } from '../../../src/migration/wire/listen.ts';

describe('a channel', () => {
  it('carries', async () => {
    const channels: Channel[] = [];
    const listener = await listenForChannels({ host: '127.0.0.1', port: 0 }, { security: { kind: 'same-user' } }, (c) => channels.push(c));
    const client = await connectChannel(listener.address, { security: { kind: 'same-user' }, connections: 3 });
    await client.send({ type: 'commit', migrationId: 'abc' });
    expect(await channels[0]!.receive()).toEqual({ type: 'commit', migrationId: 'abc' });
    await channels[0]!.send({ type: 'started', migrationId: 'abc', pid: 7 });
    expect(await client.receive()).toEqual({ type: 'started', migrationId: 'abc', pid: 7 });
    await client.flushed();
    await client.close();
    await channels[0]!.close();
    expect(await client.receive()).toBeUndefined();
    expect(await channels[0]!.receive()).toBeUndefined();
    await listener.close();
    console.log(client.roundTripMicroseconds);
  });
  it('is fast', async () => {
    const channels: Channel[] = [];
    const listener = await listenForChannels({ host: '127.0.0.1', port: 0 }, { security: { kind: 'same-user' } }, (c) => channels.push(c));
    const client = await connectChannel(listener.address, { security: { kind: 'same-user' }, connections: 1 });
    const bytes = new Uint8Array(512*1024).fill(7);
    const { PageRangeList } = await import('../../../src/core/index.ts');
    const ranges = PageRangeList.of({startPage: 100, endPage: 228});
    const started = performance.now();
    let got = 0;
    const reader = (async () => { for await (const m of channels[0]!) got += m.type === 'pages' ? m.bytes.length : 0; })();
    for (let i = 0; i < 2000; i++) await client.send({ type: 'pages', pid: 1, ranges, encoding: 'raw', checksum: 0, bytes });
    await client.flushed();
    const s = (performance.now() - started) / 1000;
    console.log('MB/s', got / 1e6 / s);
    void client.close(); await channels[0]!.close(); await reader;
    await listener.close();
  });
});
