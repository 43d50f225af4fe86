import { fork } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { PAGE_SIZE, PageRangeList } from '../../src/core/index.ts';
import { connectChannel, type Message, type Security } from '../../src/migration/index.ts';
import { atLeast, type Findings, median } from './findings.ts';
import { sampleValue } from './values.ts';
import type { WirePeerTask } from './wire-peer.ts';

const PAGES_OF_MESSAGE = 128;
const MESSAGES = 2000;
const MEGABYTES = (MESSAGES * PAGES_OF_MESSAGE * PAGE_SIZE) / 1e6;
const QUESTIONS = 2000;
const RUNS = 3;

/** Megabytes a second that a channel carries over loopback to another process, beside plain TCP of Node. */
export async function benchWire(findings: Findings): Promise<void> {
  findings.begin('wire');
  const key = new Uint8Array(32).fill(7);
  const insecure: Security = { kind: 'insecure' };
  findings.add('plain TCP of Node, writes of 512 KiB', await best(plainTcp), 'MB/s');
  findings.add(
    'a channel over 1 connection',
    await best(() => throughChannel(insecure, 1)),
    'MB/s',
    atLeast(300),
  );
  findings.add('a channel over 4 connections', await best(() => throughChannel(insecure, 4)), 'MB/s');
  findings.add(
    'a channel with a shared key (TLS 1.3, AES-128-GCM)',
    await best(() => throughChannel({ kind: 'shared-key', key }, 1)),
    'MB/s',
  );
  findings.add('a question and its answer', await questionMicroseconds(insecure), 'us');
}

/** The fastest of some runs: what else the machine does only ever slows one down. */
async function best(run: () => Promise<number>): Promise<number> {
  const seconds: number[] = [];
  for (let count = 0; count < RUNS; count++) seconds.push(await run());
  return MEGABYTES / Math.min(...seconds);
}

async function withPeer<Result>(task: WirePeerTask, use: (port: number) => Promise<Result>): Promise<Result> {
  const peer = fork(fileURLToPath(new URL('./wire-peer.js', import.meta.url)), { serialization: 'advanced' });
  try {
    peer.send(task);
    const [port] = await once(peer, 'message');
    return await use(Number(port));
  } finally {
    peer.kill();
  }
}

function plainTcp(): Promise<number> {
  return withPeer({ kind: 'tcp' }, async (port) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    await once(socket, 'connect');
    const content = pageContent();
    const started = performance.now();
    for (let count = 0; count < MESSAGES; count++) {
      if (!socket.write(content)) await once(socket, 'drain');
    }
    socket.end();
    await once(socket, 'data');
    return (performance.now() - started) / 1000;
  });
}

function throughChannel(security: Security, connections: number): Promise<number> {
  return withPeer({ kind: 'channel', security }, async (port) => {
    const channel = await connectChannel({ host: '127.0.0.1', port }, { security, connections });
    const message: Message = {
      type: 'pages',
      pid: 1,
      ranges: PageRangeList.of({ startPage: 16, endPage: 16 + PAGES_OF_MESSAGE }),
      encoding: 'raw',
      checksum: 0,
      bytes: pageContent(),
    };
    const started = performance.now();
    for (let count = 0; count < MESSAGES; count++) await channel.send(message);
    await channel.flushed();
    const seconds = (performance.now() - started) / 1000;
    await channel.close();
    return seconds;
  });
}

function questionMicroseconds(security: Security): Promise<number> {
  return withPeer({ kind: 'channel', security }, async (port) => {
    const channel = await connectChannel({ host: '127.0.0.1', port }, { security });
    const times: number[] = [];
    for (let count = 0; count < QUESTIONS; count++) {
      const asked = performance.now();
      await channel.send({ type: 'commit', migrationId: 'bench' });
      await channel.receive();
      times.push((performance.now() - asked) * 1000);
    }
    await channel.close();
    return median(times);
  });
}

function pageContent(): Uint8Array {
  const content = new Uint8Array(PAGES_OF_MESSAGE * PAGE_SIZE);
  for (let at = 0, index = 0; at < content.length; index++) {
    const value = sampleValue(index, 0.3);
    content.set(value.subarray(0, content.length - at), at);
    at += value.length;
  }
  return content;
}
