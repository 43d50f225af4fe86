import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type ConnectionOptions, connect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PeerSecurity } from '../../../../src/interop/criu/page-server/listener.ts';
import { type Authority, makeAuthority } from '../../../migration/wire/certificates.ts';
import { temporaryDirectory } from '../../../store/harness.ts';
import { expectedOf, play, RunningPageServer, storedIn } from './running-page-server.ts';
import { dumpSession, type Tree } from './sessions.ts';
import { TestClient } from './test-client.ts';

const TREE: Tree = {
  tasks: new Map([[7, new Map(Array.from({ length: 500 }, (_, at) => [at + 16, at % 200]))]]),
  objects: new Map(),
};
const STEPS = dumpSession(TREE, { layout: '3.17', kind: 'dump' });

let authority: Authority;
beforeAll(() => {
  authority = makeAuthority();
});
afterAll(() => authority.remove());

const pem = (file: string) => readFileSync(file, 'utf8');

function security(changes: Partial<Extract<PeerSecurity, { kind: 'tls' }>> = {}): PeerSecurity {
  const { certFile, keyFile } = authority.issue('server', 'IP:127.0.0.1');
  return {
    kind: 'tls',
    caCertificates: pem(authority.caFile),
    revocations: undefined,
    certificate: pem(certFile),
    key: pem(keyFile),
    verifyName: true,
    ...changes,
  };
}

function certificateFor(name: string, from = authority): ConnectionOptions {
  const { certFile, keyFile } = from.issue('client', name);
  return { cert: pem(certFile), key: pem(keyFile) };
}

async function connectTls(port: number, options: ConnectionOptions): Promise<TestClient> {
  const socket = connect({ host: '127.0.0.1', port, ca: pem(authority.caFile), ...options });
  await once(socket, 'secureConnect');
  return new TestClient(socket);
}

/** Plays the session. @returns what went wrong: a server that refuses may be gone before the handshake is over */
async function attempt(server: RunningPageServer, options: ConnectionOptions): Promise<string | undefined> {
  try {
    return await play(await connectTls(server.port, options), STEPS);
  } catch (error) {
    return String(error);
  }
}

describe('a page server with TLS', () => {
  it('receives over TLS 1.2', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path, { security: security() });
    const client = await connectTls(server.port, certificateFor('IP:127.0.0.1'));
    expect(await play(client, STEPS)).toBeUndefined();
    await server.event('received');
    expect(await storedIn(directory.path, 1)).toEqual(expectedOf(TREE));
  });

  it('lets nobody in without a certificate, with one of another CA, or for another host', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path, { security: security() });
    const other = makeAuthority();
    const wrong: readonly [ConnectionOptions, string][] = [
      [{}, 'its certificate is not trusted: there is none'],
      [certificateFor('IP:127.0.0.1', other), 'its certificate is not trusted'],
      [certificateFor('IP:192.0.2.1'), 'its certificate is neither for 127.0.0.1'],
    ];
    for (const [at, [options, reason]] of wrong.entries()) {
      expect(await attempt(server, options)).toBeDefined();
      expect((await server.event('refused', at + 1)).reason).toContain(reason);
    }
    other.remove();
    expect(server.all('begun')).toEqual([]);
  });

  it('lets in whom the CA knows by another name, if told not to mind', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path, {
      security: security({ verifyName: false }),
    });
    const client = await connectTls(server.port, certificateFor('IP:192.0.2.1'));
    expect(await play(client, STEPS)).toBeUndefined();
  });

  it('refuses a certificate that was revoked', async () => {
    using directory = temporaryDirectory();
    const { certFile, keyFile } = authority.issue('revoked', 'IP:127.0.0.1');
    const revocations = pem(authority.revoke('revoked'));
    await using server = await RunningPageServer.start(directory.path, {
      security: security({ revocations }),
    });
    expect(await attempt(server, { cert: pem(certFile), key: pem(keyFile) })).toBeDefined();
    expect((await server.event('refused')).reason).toContain('CERT_REVOKED');
  });

  it('says so of a client that does not speak TLS', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path, { security: security() });
    expect(await play(await server.connect(), STEPS)).toBeDefined();
    expect((await server.event('refused')).reason).toContain('no TLS connection came about');
  });
});

describe('a page server without TLS', () => {
  it('says so of a client that does speak it', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path);
    const socket = connect({ host: '127.0.0.1', port: server.port, rejectUnauthorized: false });
    await once(socket, 'error');
    const { error } = await server.event('failed');
    expect(error.message).toContain("does not speak CRIU's protocol");
    expect(error).toMatchObject({ hint: 'if it uses --tls, both ends must' });
  });

  it('lets in whom it is told to', async () => {
    using directory = temporaryDirectory();
    await using server = await RunningPageServer.start(directory.path, {
      security: {
        kind: 'same-user',
        require: async () => {
          throw new Error('it is somebody else');
        },
      },
    });
    expect(await play(await server.connect(), STEPS)).toBeDefined();
    expect((await server.event('refused')).reason).toBe('it is somebody else');
  });
});
