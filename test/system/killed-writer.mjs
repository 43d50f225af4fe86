// Dumps one page into a store and is killed at a fault point: node killed-writer.mjs STORE POINT
import { CodecPool, digestPage } from '../../dist/codec/index.js';
import { positionOf } from '../../dist/image/index.js';
import { Store } from '../../dist/store/index.js';

const [directory, point] = process.argv.slice(2);
const faults = {
  reached: (reached) => {
    if (reached === point) process.kill(process.pid, 'SIGKILL');
  },
};
const codec = new CodecPool({ workers: 0 });
const store = await Store.open(directory, { access: 'create', command: 'killed', codec, faults });
const parent = (await store.newest())?.number ?? null;
const writer = await store.beginCheckpoint({ parent, compression: { name: 'zstd', level: 1 } });
const page = new Uint8Array(4096).fill(writer.number);
const digest = digestPage(page);
const block = writer.reserveBlock();
const builder = writer.buildIndex(undefined);
builder.addWhole(16, digest, 0, writer.pack, positionOf(block, 0));
writer.encodeBlock(block, 'pages', digest, page);
await writer.finishProcess({ pid: 1, parentPid: 0, name: 'one', vmas: [] }, builder);
await writer.commit({
  preDump: false,
  target: { kind: 'simulated', name: 'one', fingerprint: '' },
  tracker: 'compare',
  pages: { scanned: 1, dirty: 1, shared: 0, written: 1 },
  warnings: [],
  times: () => ({ freeze: 0, scan: 0, read: 0, total: 0 }),
});
await store.close();
