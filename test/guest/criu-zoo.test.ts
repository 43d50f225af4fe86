import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ckptJson } from '../system/command.ts';
import { criuObstacle, runWithCriu } from './criu.ts';

const SOURCE = resolve(import.meta.dirname, 'zoo.c');
const OPTIONS = '--tcp-established --file-locks --network-lock nftables --shell-job';

const DUMP = `
: > /work/zoo.report
start zoo unshare -i /bin/zoo /work/zoo.report
until grep -q ready /work/zoo.out; do sleep 0.05; done
mkdir -p /out/zoo
criu dump -t "$PID" -D /out/zoo ${OPTIONS} -v4 -o dump.log || grep Error /out/zoo/dump.log
gone "$PID"
echo "$PID" > /out/pid
`;

/** The files that the program had open are there as they were, and nothing else of it. */
const RESTORE = `
echo 20000 > /proc/sys/kernel/ns_last_pid
: > /work/zoo.report
echo ready > /work/zoo.out
mkfifo -m 600 /work/zoo.fifo
for name in flock lock; do : > /work/zoo.$name; chmod 600 /work/zoo.$name; done
# nft complains that it has no table of the locked connection here; that is as CRIU means it.
criu restore -d -D /images ${OPTIONS} -v4 -o /work/restore.log 2>/work/nft.log || grep Error /work/restore.log
report zoo "$(cat /pid)" 22
`;

const KINDS = [
  ...['ended child', 'pipe', 'fifo', 'stream', 'packets', 'tcp', 'udp', 'ghost', 'sparse ghost', 'locks'],
  ...['epoll', 'eventfd', 'timerfd', 'timer', 'itimer', 'signal', 'inotify', 'terminal', 'memfd'],
  ...['messages', 'semaphores', 'segments'],
];

const obstacle = criuObstacle();
/** Of host and guest alike; the guest has file systems of its own at /tmp. */
const work = mkdtempSync('/var/tmp/ckpt-criu-zoo-');
const program = join(work, 'zoo');
afterAll(() => rmSync(work, { recursive: true }));

describe.skipIf(obstacle !== undefined)(
  `everything that CRIU has an image for (${obstacle ?? 'all there'})`,
  () => {
    let said: readonly string[] = [];
    beforeAll(async () => {
      execFileSync('gcc', ['-O1', '-Wall', '-static', '-pthread', '-o', program, SOURCE]);
      const files = { '/bin/zoo': { from: program } };
      const dumped = await runWithCriu({ script: DUMP, files, output: join(work, 'out') });
      expect(dumped).toMatchObject({ exitCode: 0, stdout: '' });
      const store = join(work, 'store');
      const images = join(work, 'out', 'zoo');
      const { notes } = await ckptJson('import', images, '-D', store);
      expect(notes).toEqual([]);
      rmSync(images, { recursive: true });
      await ckptJson('export', '-D', store, '--format', 'criu', '-o', join(work, 'images'));
      const { stdout } = await runWithCriu({
        script: RESTORE,
        files: {
          ...files,
          '/images': { from: join(work, 'images') },
          '/pid': { from: join(work, 'out', 'pid') },
        },
      });
      said = stdout.trim().split('\n');
    }, 240_000);

    it('is as it was after an import, an export and a restore by CRIU', () => {
      expect(said).toEqual(KINDS.map((kind) => `${kind} sound`));
    });
  },
);
