import { describe, expect, it } from 'vitest';
import { type GuestKernelVersion, guestObstacle, nodeFiles, runInGuest } from './harness.ts';

/** Reads bit 55 of pages of its own: after a store, after clear_refs, after a second store to some of them. */
const PROBE = `
const { openSync, readSync, writeFileSync, readFileSync } = require('node:fs');
const COUNT = 1024;
const pages = Buffer.alloc((COUNT + 1) * 4096, 1);
const start = readFileSync('/proc/self/maps', 'latin1').split('\\n').map((line) => /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line))
  .filter((match) => match !== null).map((match) => [parseInt(match[1], 16), parseInt(match[2], 16)])
  .filter(([from, to]) => to - from >= COUNT * 4096).map(([from, to]) => [from / 4096, to / 4096]);
const pagemap = openSync('/proc/self/pagemap', 'r');
function dirty() {
  let count = 0;
  for (const [from, to] of start) {
    const words = Buffer.alloc((to - from) * 8);
    readSync(pagemap, words, 0, words.length, from * 8);
    for (let i = 0; i < to - from; i++) if (words[i * 8 + 6] & 0x80) count++;
  }
  return count;
}
const before = dirty();
writeFileSync('/proc/self/clear_refs', '4');
const cleared = dirty();
for (let i = 0; i < 600; i++) pages[i * 4096] = 2;
const stored = dirty();
console.log(JSON.stringify({ before, cleared, stored }));
`;

describe.each<GuestKernelVersion>(['6.1', '6.12'])('soft-dirty on a real kernel %s', (kernel) => {
  const obstacle = guestObstacle(kernel);
  it.skipIf(obstacle !== undefined)(
    `is seen by a node script on its own pages ${obstacle ?? ''}`,
    async () => {
      const files = { ...nodeFiles(), '/probe.cjs': { text: PROBE } };
      const { stdout, exitCode } = await runInGuest({ kernel, files, script: 'node /probe.cjs' });
      expect(exitCode, stdout).toBe(0);
      const counts = JSON.parse(stdout) as { before: number; cleared: number; stored: number };
      expect(counts.before).toBeGreaterThan(1024);
      // The probe itself allocates a little between the clear and the count.
      expect(counts.cleared).toBeLessThan(500);
      expect(counts.stored).toBeGreaterThanOrEqual(600);
      expect(counts.stored).toBeLessThan(counts.before);
    },
  );
});
