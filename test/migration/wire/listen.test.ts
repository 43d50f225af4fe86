import { chmodSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { PeerError, UsageError } from '../../../src/core/index.ts';
import type { Channel } from '../../../src/migration/wire/channel.ts';
import { connectChannel } from '../../../src/migration/wire/connect.ts';
import { loadSecurity, type SecurityOptions } from '../../../src/migration/wire/credentials.ts';
import { preamble } from '../../../src/migration/wire/handshake.ts';
import { listenForChannels } from '../../../src/migration/wire/listen.ts';
import type {
  ChannelListener,
  ConnectOptions,
  ListenOptions,
  Security,
} from '../../../src/migration/wire/options.ts';
import { type Authority, makeAuthority } from './certificates.ts';

const LOOPBACK = { host: '127.0.0.1', port: 0 };
const started: { close(): unknown }[] = [];

afterEach(async () => {
  for (const one of started.splice(0)) await one.close();
});

interface Listening {
  readonly listener: ChannelListener;
  readonly channels: Channel[];
  readonly refusals: string[];
}

async function listening(security: Security, options: Partial<ListenOptions> = {}): Promise<Listening> {
  const channels: Channel[] = [];
  const refusals: string[] = [];
  const listener = await listenForChannels(
    LOOPBACK,
    {
      security,
      ...options,
      onEvent: (event) => {
        if (event.kind === 'refused') refusals.push(event.reason);
      },
    },
    (channel) => channels.push(channel),
  );
  started.push(listener);
  return { listener, channels, refusals };
}

/** Sends a message each way, and closes. */
async function expectTalk(client: Channel, server: Channel): Promise<void> {
  await client.send({ type: 'commit', migrationId: 'abc' });
  expect(await server.receive()).toEqual({ type: 'commit', migrationId: 'abc' });
  await server.send({ type: 'started', migrationId: 'abc', pid: 7 });
  expect(await client.receive()).toEqual({ type: 'started', migrationId: 'abc', pid: 7 });
  await Promise.all([client.close(), server.close()]);
}

async function expectLetIn(server: Security, client: Security, options: Partial<ConnectOptions> = {}) {
  const { listener, channels, refusals } = await listening(server);
  const channel = await connectChannel(listener.address, { security: client, ...options });
  await expectTalk(channel, channels[0]!);
  expect(refusals).toEqual([]);
}

async function expectKeptOut(server: Security, client: Security, message: RegExp): Promise<string[]> {
  const { listener, channels, refusals } = await listening(server);
  const attempt = connectChannel(listener.address, { security: client, connectMicroseconds: 3_000_000 });
  await expect(attempt).rejects.toThrow(message);
  await expect(attempt).rejects.toBeInstanceOf(PeerError);
  await expect.poll(() => refusals.length).toBeGreaterThan(0);
  expect(channels).toEqual([]);
  return refusals;
}

const INSECURE: Security = { kind: 'insecure' };
const sharedKey = (fill: number): Security => ({ kind: 'shared-key', key: new Uint8Array(40).fill(fill) });

describe('certificates', () => {
  let authority: Authority;
  let others: Authority;
  let load: (name: string, more?: SecurityOptions, from?: Authority) => Promise<Security>;

  beforeAll(() => {
    authority = makeAuthority();
    others = makeAuthority();
    authority.issue('receiver', 'IP:127.0.0.1,DNS:localhost');
    authority.issue('sender', 'DNS:sender.test');
    others.issue('sender', 'DNS:sender.test');
    load = (name, more = {}, from = authority) =>
      loadSecurity(
        {
          tls: true,
          tlsCacert: authority.caFile,
          tlsCert: join(from.folder, `${name}.pem`),
          tlsKey: join(from.folder, `${name}.key`),
          ...more,
        },
        LOOPBACK,
      );
  });

  afterAll(() => {
    authority.remove();
    others.remove();
  });

  it('of the same authority let both ends talk, over several connections', async () => {
    await expectLetIn(await load('receiver'), await load('sender'), { connections: 3 });
  });

  it('are asked of the connecting end', async () => {
    const stranger = await load('sender', {}, others);
    const refusals = await expectKeptOut(
      await load('receiver'),
      stranger,
      /refused: the certificate of the connecting end is not trusted/,
    );
    expect(refusals[0]).toMatch(/not trusted/);
  });

  it('of another authority than expected are refused by the connecting end', async () => {
    const trustsOthers = await load('sender', { tlsCacert: others.caFile });
    await expectKeptOut(await load('receiver'), trustsOthers, /certificate is not trusted/);
  });

  it('for another name are refused unless the user says otherwise', async () => {
    const wrongName = await load('sender');
    await expectKeptOut(wrongName, await load('sender'), /for another name/);
    await expectLetIn(wrongName, await load('sender', { tlsNoCnVerify: true }));
  });

  it('that were revoked are refused', async () => {
    authority.issue('revoked', 'IP:127.0.0.1');
    const revoked = await load('revoked');
    const tlsCacrl = authority.revoke('revoked');
    await expectKeptOut(
      await load('receiver', { tlsCacrl }),
      revoked,
      /refused: the certificate of the connecting end is not trusted/,
    );
    await expectKeptOut(revoked, await load('sender', { tlsCacrl }), /not trusted: certificate revoked/);
    await expectLetIn(await load('receiver', { tlsCacrl }), await load('sender', { tlsCacrl }));
  });

  it('do not go together with a shared key or with nothing', async () => {
    const receiver = await load('receiver');
    await expectKeptOut(receiver, sharedKey(1), /shared key/);
    await expectKeptOut(receiver, INSECURE, /expects TLS|closed the connection before it had said who it is/);
    await expectKeptOut(sharedKey(1), receiver, /TLS connection|not trusted/);
    await expectKeptOut(INSECURE, receiver, /does not speak TLS/);
  });

  it('and keys that do not fit or cannot be read are said before anybody connects', async () => {
    const file = (name: string) => join(authority.folder, name);
    await expect(load('receiver', { tlsKey: file('sender.key') })).rejects.toThrow('do not belong together');
    await expect(load('receiver', { tlsCert: file('none.pem') })).rejects.toThrow('--tls-cert');
    writeFileSync(file('text.pem'), 'not PEM');
    await expect(load('receiver', { tlsCacert: file('text.pem') })).rejects.toThrow(
      '--tls-cacert cannot be used',
    );
    chmodSync(file('receiver.key'), 0o644);
    await expect(load('receiver')).rejects.toThrow('can be read by others (its mode is 0644)');
    chmodSync(file('receiver.key'), 0o600);
  });
});

describe('a shared key', () => {
  it('lets both ends talk', () => expectLetIn(sharedKey(1), sharedKey(1), { connections: 2 }));

  it('must be the same', async () => {
    const refusals = await expectKeptOut(sharedKey(1), sharedKey(2), /not have the same shared key/);
    expect(refusals[0]).toMatch(/not have the same shared key/);
  });

  it('is asked of both ends', async () => {
    await expectKeptOut(
      sharedKey(1),
      INSECURE,
      /expects TLS|closed the connection before it had said who it is/,
    );
    await expectKeptOut(INSECURE, sharedKey(1), /does not speak TLS/);
  });
});

describe('a listener', () => {
  it('on a loopback address lets in processes of its user', () =>
    expectLetIn({ kind: 'same-user' }, { kind: 'same-user' }));

  it('lets nobody into the session of somebody else', async () => {
    const { listener, channels } = await listening(INSECURE);
    const mine = await connectChannel(listener.address, { security: INSECURE });
    const yours = await connectChannel(listener.address, { security: INSECURE });
    await mine.send({ type: 'abort', reason: 'mine' });
    await yours.send({ type: 'abort', reason: 'yours' });
    expect(await channels[0]!.receive()).toEqual({ type: 'abort', reason: 'mine' });
    expect(await channels[1]!.receive()).toEqual({ type: 'abort', reason: 'yours' });
    for (const channel of [mine, yours]) channel.abort(new Error('enough'));
  });

  it('takes so many channels at a time and no more', async () => {
    const { listener } = await listening(INSECURE, { channels: 1 });
    const channel = await connectChannel(listener.address, { security: INSECURE });
    await expect(connectChannel(listener.address, { security: INSECURE })).rejects.toThrow(
      'refused: 1 migrations are under way',
    );
    channel.abort(new Error('enough'));
    await expect
      .poll(async () =>
        (await connectChannel(listener.address, { security: INSECURE })).abort(new Error('enough')),
      )
      .toBeUndefined();
  });

  it('does not wait for crowds of strangers, and still lets others in', async () => {
    const { listener, channels, refusals } = await listening(INSECURE);
    const { port } = listener.address;
    const strangers = Array.from({ length: 100 }, () => connect(port, '127.0.0.1').on('error', () => {}));
    await expect.poll(() => refusals.length).toBe(36);
    expect(refusals[0]).toContain('too many connections');
    await expectTalk(await connectChannel(listener.address, { security: INSECURE }), channels[0]!);
    for (const stranger of strangers) stranger.destroy();
  });

  it('goes on over new connections when all are lost, and knows when the other end is gone for good', async () => {
    const { listener, channels } = await listening(INSECURE, { giveUpMicroseconds: 300_000 });
    const relay = await relayTo(listener.address.port);
    const channel = await connectChannel(relay.address, { security: INSECURE, giveUpMicroseconds: 300_000 });
    await channel.send({ type: 'abort', reason: 'one' });
    expect(await channels[0]!.receive()).toMatchObject({ reason: 'one' });
    relay.breakAll();
    await channel.send({ type: 'abort', reason: 'two' });
    expect(await channels[0]!.receive()).toMatchObject({ reason: 'two' });
    await relay.close();
    await expect(channel.receive()).rejects.toThrow('not resumed within 0.3 s');
    await expect(channels[0]!.receive()).rejects.toThrow('not resumed within 0.3 s');
  });

  it('that was started anew does not know sessions of before', async () => {
    const { listener, channels } = await listening(INSECURE);
    const relay = await relayTo(listener.address.port);
    const channel = await connectChannel(relay.address, { security: INSECURE });
    const { listener: another } = await listening(INSECURE);
    relay.port = another.address.port;
    relay.breakAll();
    await expect(channel.receive()).rejects.toThrow('refused: it does not know this migration');
    channels[0]!.abort(new Error('enough'));
  });

  it('says why it cannot listen', async () => {
    const { listener } = await listening(INSECURE);
    const again = listenForChannels(listener.address, { security: INSECURE }, () => {});
    await expect(again).rejects.toThrow('another program listens there');
    await expect(again).rejects.toBeInstanceOf(UsageError);
    await expect(
      listenForChannels({ host: '192.0.2.1', port: 0 }, { security: INSECURE }, () => {}),
    ).rejects.toThrow('does not have that address');
  });
});

describe('connecting', () => {
  it('says if nobody listens', async () => {
    const { listener } = await listening(INSECURE);
    const { address } = listener;
    await listener.close();
    await expect(connectChannel(address, { security: INSECURE })).rejects.toThrow('nothing listens there');
  });

  it('says if somebody else listens', async () => {
    const port = await serverThatSays('SSH-2.0-OpenSSH_9.2\r\n');
    await expect(connectChannel({ host: '127.0.0.1', port }, { security: INSECURE })).rejects.toThrow(
      `does not speak ckpt's migration protocol: it began with "SSH-2.0-"`,
    );
  });

  it('says if the other end is of another version', async () => {
    const newer = Buffer.from(preamble());
    newer.writeUInt16LE(9, 8);
    newer.writeUInt16LE(7, 10);
    const port = await serverThatSays(newer);
    const attempt = connectChannel({ host: '127.0.0.1', port }, { security: INSECURE });
    await expect(attempt).rejects.toThrow(
      'speaks versions 7 to 9 of the migration protocol, this ckpt 1 to 1',
    );
  });

  it('does not wait for ever for somebody who says nothing', async () => {
    const port = await serverThatSays('');
    for (const security of [INSECURE, sharedKey(1)]) {
      await expect(
        connectChannel({ host: '127.0.0.1', port }, { security, connectMicroseconds: 50_000 }),
      ).rejects.toThrow('did not answer within 0.05 s');
    }
  });

  it('can be given up', async () => {
    const port = await serverThatSays('');
    const attempt = connectChannel(
      { host: '127.0.0.1', port },
      { security: INSECURE, signal: AbortSignal.timeout(30) },
    );
    await expect(attempt).rejects.toThrow('was given up');
  });

  it('aborts the channel if it is told to stop later', async () => {
    const { listener, channels } = await listening(INSECURE);
    const stop = new AbortController();
    const channel = await connectChannel(listener.address, { security: INSECURE, signal: stop.signal });
    stop.abort();
    await expect(channel.receive()).rejects.toThrow('this end gave the channel up');
    await expect(channels[0]!.receive()).rejects.toThrow('the other end gave up');
  });
});

/** A server that says one thing to everybody. */
async function serverThatSays(what: string | Buffer): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.write(what);
    open.add(socket);
  });
  const open = new Set<{ destroy(): void }>();
  const port = await portOf(server);
  started.push({
    close: () => {
      server.close();
      for (const socket of open) socket.destroy();
    },
  });
  return port;
}

/** Passes connections on, until they are broken. */
async function relayTo(port: number) {
  const open = new Set<{ destroy(): void }>();
  const relay = {
    port,
    address: { host: '127.0.0.1', port: 0 },
    breakAll() {
      for (const socket of open) socket.destroy();
      open.clear();
    },
    async close() {
      server.close();
      relay.breakAll();
    },
  };
  const server = createServer((near) => {
    const far = connect(relay.port, '127.0.0.1');
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one);
      one.on('error', () => {});
      one.on('close', () => other.destroy());
      one.pipe(other);
    }
  });
  relay.address.port = await portOf(server);
  started.push(relay);
  return relay;
}

async function portOf(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
