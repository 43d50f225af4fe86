import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { importImages } from '../../../../src/interop/index.ts';
import { unpackCriuImages } from '../../../cases/criu/unpack.ts';
import { temporaryDirectory } from '../../../store/harness.ts';
import { serveLazily } from './running-lazy-server.ts';
import { TestClient } from './test-client.ts';

let directory = '';
beforeAll(() => {
  directory = join(unpackCriuImages('lazy'), 'lazy');
});
afterAll(() => rmSync(join(directory, '..'), { recursive: true, force: true }));

describe('what criu lazy-pages 3.17.1 asked', () => {
  it('is answered with the bytes that CRIU’s own page server answered', async () => {
    using store = temporaryDirectory();
    await importImages({ storeDirectory: store.path, path: join(directory, 'images'), workers: 0 });
    await using server = await serveLazily(store.path);
    for (let restore = 0; restore < 2; restore++) {
      const client = await TestClient.connect(server.port);
      await client.send(readFileSync(join(directory, 'said', '1.client')));
      client.end();
      const wanted = readFileSync(join(directory, 'said', '1.server'));
      expect((await client.receiveRest()).equals(wanted)).toBe(true);
    }
    await expect.poll(() => server.ended().map(({ failure }) => failure)).toEqual([undefined, undefined]);
  });
});
