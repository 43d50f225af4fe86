import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type ConnectionOptions, connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Authority, makeAuthority } from '../../../migration/wire/certificates.ts';
import { temporaryDirectory } from '../../../store/harness.ts';
import { LazyClient } from './lazy-client.ts';
import { serveLazily } from './running-lazy-server.ts';
import { pageOfSeed, type Tree } from './sessions.ts';
import { storeTree } from './stored-tree.ts';
import { TestClient } from './test-client.ts';
import { listenToRecords } from './tls-records.ts';

const SEEDS = Array.from({ length: 300 }, (_, at) => at % 40);
const TREE: Tree = {
  tasks: new Map([[7, new Map(SEEDS.map((seed, at) => [0x1000 + at, seed]))]]),
  objects: new Map(),
};

/** In TLS 1.2 with AES-GCM a record is its content, a nonce of 8 bytes and a tag of 16 (RFC 5288). */
const RECORD_OVERHEAD = 24;

const HEADER = 24;
const STATUS = 4;

let authority: Authority;
beforeAll(() => {
  authority = makeAuthority();
});
afterAll(() => authority.remove());

const pem = (file: string) => readFileSync(file, 'utf8');

function serverSecurity() {
  const { certFile, keyFile } = authority.issue('server', 'IP:127.0.0.1');
  return {
    kind: 'tls',
    caCertificates: pem(authority.caFile),
    revocations: undefined,
    certificate: pem(certFile),
    key: pem(keyFile),
    verifyName: true,
  } as const;
}

async function connectTls(port: number, options: ConnectionOptions): Promise<LazyClient> {
  const socket = connect({ host: '127.0.0.1', port, ca: pem(authority.caFile), ...options });
  await once(socket, 'secureConnect');
  return new LazyClient(new TestClient(socket), '3.17');
}

describe('a lazy page server with TLS', () => {
  it('puts headers and pages into records of their own, pages into such of 16 KiB', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    await using server = await serveLazily(directory.path, { security: serverSecurity() });
    const records = await listenToRecords(server.port);
    const { certFile, keyFile } = authority.issue('client', 'IP:127.0.0.1');
    const client = await connectTls(records.port, { cert: pem(certFile), key: pem(keyFile) });
    // All at once: the server must not join an answer with the next one.
    await client.stream.send(...[1, 9, 300].map((count) => client.request(7, 0x1000, count)));
    for (const count of [1, 9, 300]) {
      const wanted = Buffer.concat(SEEDS.slice(0, count).map(pageOfSeed));
      expect(Buffer.compare((await client.answer()).bytes, wanted)).toBe(0);
    }
    expect(await client.close()).toBe(0);
    const contents = records.recordLengths().map((length) => length - RECORD_OVERHEAD);
    records.close();
    let at = contents.indexOf(HEADER);
    for (const count of [1, 9, 300]) {
      expect(contents[at++]).toBe(HEADER);
      for (let rest = count * 4096; rest > 0; rest -= contents[at++] ?? 0) {
        expect(contents[at]).toBeLessThanOrEqual(Math.min(rest, 16_384));
      }
    }
    expect(contents[at]).toBe(STATUS);
    expect(contents.filter((length) => length === 16_384).length).toBeGreaterThan(60);
  });

  it('lets nobody in without a certificate of its CA', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    await using server = await serveLazily(directory.path, {
      security: serverSecurity(),
    });
    const answer = connectTls(server.port, {}).then(async (client) => {
      await client.ask(7, 0x1000, 1);
      return client.answer();
    });
    await expect(answer).rejects.toThrow();
    expect(server.events.slice(1)).toEqual([
      expect.objectContaining({
        kind: 'refused',
        reason: expect.stringContaining('certificate is not trusted'),
      }),
    ]);
    expect(server.ended()).toEqual([]);
  });
});
