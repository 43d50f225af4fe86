import { describe, expect, it } from 'vitest';
import type { ReceivedMigration } from '../../src/migration/index.ts';
import { formatMigration, formatReceived, formatResolution } from '../../src/report/index.ts';
import { sampleInput } from './html/sample.ts';

const { migration } = sampleInput().shadow!;
/** What a program may call itself, and what another end may say: a terminal would obey it. */
const OBEYED = 'a\u001b[31mb\rc';
const SHOWN = 'a\\x1b[31mb\\x0dc';

const RECEIVED: ReceivedMigration = {
  migrationId: '5f0c',
  target: '4711 (redis-server)',
  outcome: 'kept',
  checkpoint: 2,
  memoryDigest: '14ca',
  rounds: 2,
  pages: { received: 100, zero: 0 },
  receivedBytes: 4096,
  microseconds: { total: 2e6, lastRound: 1e5, start: 0 },
  pid: null,
  obstacles: [],
  run: null,
  fetched: null,
};

describe('texts of a target and of the other end', () => {
  it.each(['moved', 'rehearsed', 'not-runnable', 'given-up'] as const)('are escaped: %s', (end) => {
    const text = formatMigration({ ...migration, end, target: { ...migration.target, name: OBEYED } });
    expect(text.split('\n')[0]).toContain(SHOWN);
    expect(text).not.toMatch(/[^\P{Cc}\n]/u);
  });

  it('are escaped in obstacles', () => {
    const text = formatMigration({ ...migration, end: 'not-runnable', obstacles: ['sockets', OBEYED] });
    expect(text).toMatch(/\n\ncannot run there: sockets\ncannot run there: [^\n]+\n$/);
    expect(text).toContain(`cannot run there: ${SHOWN}\n`);
    const received = formatReceived({ ...RECEIVED, obstacles: ['sockets', OBEYED] });
    expect(received).toMatch(/\n\nin the way:\n {2}sockets\n {2}[^\n]+\n$/);
    expect(received).toContain(`\n  ${SHOWN}\n`);
    expect(received).not.toMatch(/[^\P{Cc}\n]/u);
  });

  it('are escaped where a migration in doubt was resolved', () => {
    expect(
      formatResolution({
        migrationId: '5f0c',
        name: OBEYED,
        end: 'moved',
        pid: 17,
        detail: OBEYED,
        processes: [4711],
      }),
    ).toBe(`${SHOWN} runs there as process 17; ended: processes 4711 here (${SHOWN}).\n`);
  });
});
