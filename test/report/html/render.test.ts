import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatBytes, formatCount, formatDuration } from '../../../src/core/index.ts';
import { type RehearsalReportInput, renderRehearsalReport } from '../../../src/report/index.ts';
import { chartPoints, elementCounts, tableRows, textOf } from './page.ts';
import { sampleInput, sampleProfile, sampleRehearsal, sampleSweep } from './sample.ts';

const input = sampleInput();
const page = renderRehearsalReport(input);
const { rehearsal } = input;
const profile = input.profile!;
const sweep = input.sweep!;

describe('the page of a rehearsal', () => {
  it('begins with the verdict in one sentence, with its bounds', () => {
    const heading = textOf(/<h1>.*?<\/h1>/s.exec(page)![0]).replaceAll('\u00a0', ' ');
    expect(heading).toBe(
      `qemu converges (pre-copy): done after ${formatDuration(rehearsal.totalMicroseconds)} ` +
        '(30.5 s to 32.7 s), standing still for 240 ms (192 ms to 312 ms), 3.4 GiB (3.4 GiB to 3.5 GiB) sent; ' +
        'it would help to send differences of pages (--xbzrle).',
    );
  });

  it('has one heading of the first level and none that skips a level', () => {
    const levels = [...page.matchAll(/<h([1-6])/g)].map(([, level]) => Number(level));
    expect(levels.filter((level) => level === 1)).toHaveLength(1);
    expect(levels[0]).toBe(1);
    for (const [index, level] of levels.entries()) {
      if (index > 0) expect(level).toBeLessThanOrEqual(levels[index - 1]! + 1);
    }
  });

  it('is the same for the same input', () => {
    expect(renderRehearsalReport(sampleInput())).toBe(page);
  });

  it('allows its own script and style by their hashes, and nothing else', () => {
    const policy = textOf(/Content-Security-Policy" content="([^"]*)"/.exec(page)![1]!);
    const hashed = (element: string) => {
      const content = new RegExp(`<${element}>(.*?)</${element}>`, 's').exec(page)![1]!;
      return `'sha256-${createHash('sha256').update(content).digest('base64')}'`;
    };
    expect(policy.split('; ')).toEqual([
      "default-src 'none'",
      `script-src ${hashed('script')}`,
      `style-src ${hashed('style')}`,
      "base-uri 'none'",
      "form-action 'none'",
    ]);
    expect(page).not.toMatch(/ (?:style|on[a-z]+|src|href)=/);
  });

  it('shows what it was told to, and leaves out what it was not given', () => {
    const titles = (text: string) => [...text.matchAll(/<h2[^>]*>(.*?)<\/h2>/g)].map(([, title]) => title);
    expect(titles(page)).toEqual([
      'Remaining memory',
      'What would help',
      'Predicted and measured',
      'Combinations',
      'Written and sent',
      'Rounds',
      'Cost to the service',
      'Dirty rate',
      'Working set',
      'Where it writes',
      'Parameters',
      'Raw data',
    ]);
    const { profile, sweep, shadow, ...bare } = sampleInput({
      rehearsal: sampleRehearsal(3, { advice: [] }),
    });
    expect(titles(renderRehearsalReport(bare))).toEqual([
      'Remaining memory',
      'Written and sent',
      'Rounds',
      'Cost to the service',
      'Parameters',
      'Raw data',
    ]);
  });
});

describe('the tables behind the charts', () => {
  it('have the remaining memory, each row where it is drawn', () => {
    const rows = tableRows(page, 'remaining-data');
    expect(rows.map(([at, remaining]) => [at, remaining])).toEqual(
      rehearsal.curve.map((point) => [
        formatDuration(point.atMicroseconds),
        formatBytes(point.remainingBytes),
      ]),
    );
    const points = chartPoints(page, 'remaining');
    expect(points).toHaveLength(rows.length);
    const measured = input.shadow!.migration.curve;
    expect(tableRows(page, 'remaining-measured-data').map(([at]) => at)).toEqual(
      measured.map((point) => formatDuration(point.atMicroseconds)),
    );
    const end = measured.at(-1)!.atMicroseconds;
    for (const [index, point] of rehearsal.curve.entries()) {
      expect(points[index]![0]).toBeCloseTo(point.atMicroseconds / end, 3);
      expect(points[index]![1]).toBeCloseTo(1 - point.remainingBytes / 2 ** 31, 3);
    }
  });

  it('have the rounds', () => {
    expect(tableRows(page, 'rounds-data')).toEqual(
      rehearsal.rounds.map((round) => [
        String(round.number),
        formatDuration(round.startMicroseconds),
        formatBytes(round.remainingBytes),
        formatCount(round.sentPages),
        formatCount(round.zeroPages),
        formatBytes(round.sentBytes),
        formatCount(round.dirtiedPages),
        `${round.throttlePercent} %`,
      ]),
    );
    expect(tableRows(page, 'round-rates-data').map(([at]) => at)).toEqual(
      rehearsal.rounds.map(({ startMicroseconds }) => formatDuration(startMicroseconds)),
    );
  });

  it('have the dirty rate and the working set', () => {
    expect(tableRows(page, 'dirty-rate-data')).toEqual(
      profile.intervals.map(({ atMicroseconds, lengthMicroseconds, dirtyPages }) => [
        formatDuration(atMicroseconds),
        formatDuration(lengthMicroseconds),
        formatCount(dirtyPages),
        `${formatBytes((dirtyPages * 4096 * 1e6) / lengthMicroseconds)}/s`,
      ]),
    );
    expect(tableRows(page, 'working-set-data')).toEqual(
      profile.workingSet.map(({ windowMicroseconds, pages, low, high }) => [
        formatDuration(windowMicroseconds),
        formatBytes(pages * 4096),
        formatBytes(low * 4096),
        formatBytes(high * 4096),
      ]),
    );
  });

  it('have the heat, neighbouring columns put together where there are too many', () => {
    const few = sampleProfile(40);
    const rows = tableRows(renderRehearsalReport({ ...input, profile: few }), 'heat-data');
    expect(rows.map(([, ...counts]) => counts)).toEqual(few.heat.counts.map((row) => row.map(formatCount)));
    expect(rows.map(([label]) => label)).toContain('libjemalloc.so.2 0x1e8480000, 64.0 MiB');
    const many = tableRows(page, 'heat-data').map(([, ...counts]) =>
      counts.reduce((sum, count) => sum + Number(count.replaceAll(',', '')), 0),
    );
    expect(many).toEqual(profile.heat.counts.map((row) => row.reduce((sum, count) => sum + count, 0)));
  });

  it('have the choices of a sweep that are worth having, by their downtime', () => {
    const rows = tableRows(page, 'frontier-data');
    const expected = sweep.frontier
      .map((index) => sweep.cells[index]!)
      .sort((left, right) => left.downtimeMicroseconds - right.downtimeMicroseconds);
    expect(rows.map((row) => row[3])).toEqual(
      expected.map((cell) => formatDuration(cell.downtimeMicroseconds)),
    );
    expect(page.match(/data-indices=/g)).toHaveLength(sweep.cells.length);
    expect(page.match(/worth having<\/span>/g)).toHaveLength(sweep.frontier.length);
  });

  it('say of each measured figure whether it lies within its bounds', () => {
    const rows = tableRows(page, 'measured-data');
    expect(rows.map((row) => [row[0], row.at(-2), row.at(-1)])).toEqual([
      ['total time', '-2.0 %', '✓ yes'],
      ['downtime', '-37.5 %', '✕ no'],
      ['sent', '0.0 %', '✓ yes'],
      ['rounds', '0.0 %', '✓ yes'],
    ]);
  });

  it('compare no figures of what does not end', () => {
    const shadow = sampleInput().shadow!;
    const endless = { verdict: 'does-not-converge', downtimeMicroseconds: 0 } as const;
    const migration = { ...shadow.migration, ...endless, end: 'given-up' as const };
    const measured = renderRehearsalReport(sampleInput({ shadow: { ...shadow, migration } }));
    for (const row of tableRows(measured, 'measured-data')) {
      expect(row[2]).toBe('does not end');
      expect(row[3]).not.toBe('does not end');
      expect(row.slice(4)).toEqual(['–', '–', '–']);
    }
    const predicted = sampleRehearsal(6, endless);
    const foreseen = renderRehearsalReport(sampleInput({ shadow: { ...shadow, predicted } }));
    for (const row of tableRows(foreseen, 'measured-data')) {
      expect(row[2]).not.toBe('does not end');
      expect(row.slice(3)).toEqual(['does not end', '–', '–', '–']);
    }
  });
});

/** The sample with every text that comes from a target or from the network replaced. */
function withTexts(text: string): RehearsalReportInput {
  const sweep = sampleSweep(2);
  const shadow = sampleInput().shadow!;
  const axes = sweep.axes.map(({ values }) => ({
    name: text,
    values: values.map(({ value }) => ({ label: text, value })),
  }));
  return sampleInput({
    target: text,
    profile: sampleProfile(5, [text, `/${text}`]),
    sweep: { ...sweep, axes },
    parameters: [{ group: text, name: text, value: text, usual: `${text}!` }],
    notes: [text],
    shadow: { ...shadow, migration: { ...shadow.migration, peer: text } },
  });
}

describe('texts of a target', () => {
  it('never become markup', () => {
    const harmless = elementCounts(renderRehearsalReport(withTexts('x')));
    for (const text of [
      '</title><script>alert(1)</script>',
      '"><img src=x onerror=alert(1)>',
      "' autofocus onfocus=alert(1) x='",
      '</pre></details><iframe>',
      '<!--',
    ]) {
      expect(elementCounts(renderRehearsalReport(withTexts(text)))).toEqual(harmless);
    }
  });

  it('are shown as they are, whatever they hold', () => {
    const texts = fc.string({ unit: 'binary', maxLength: 30 });
    const harmless = elementCounts(renderRehearsalReport(withTexts('x')));
    fc.assert(
      fc.property(texts, (text) => {
        const page = renderRehearsalReport(withTexts(text));
        expect(elementCounts(page)).toEqual(harmless);
        const json = JSON.parse(/<pre id="json">(.*?)<\/pre>/s.exec(page)![1]!) as { target: string };
        expect(json.target).toBe(text);
        expect(page).not.toMatch(/[\u202a-\u202e\u2066-\u2069]/);
      }),
      { numRuns: 12 },
    );
  });
});

describe('a page', () => {
  it('stays below 2 MB, however much it is given', () => {
    const parts = Array.from({ length: 800 }, (_, index) => `/srv/data/${'long'.repeat(20)}${index}`);
    const large = renderRehearsalReport(
      sampleInput({
        rehearsal: sampleRehearsal(20_000),
        profile: sampleProfile(6000, parts),
        sweep: sampleSweep(400, ['qemu', 'xen', 'clark', 'phaul']),
      }),
    );
    expect(large.length).toBeLessThan(2e6);
    const full = renderRehearsalReport(sampleInput({ sweep: sampleSweep(166, ['qemu', 'xen']) }));
    expect(full.match(/data-indices=/g)).toHaveLength(996);
    expect(full.length).toBeLessThan(2e6);
  });

  it('has only numbers where numbers belong', () => {
    const empty = sampleProfile(0, []);
    const inputs: RehearsalReportInput[] = [
      sampleInput({ profile: { ...empty, workingSet: [], heat: { columns: [], rows: [], counts: [] } } }),
      sampleInput({ rehearsal: sampleRehearsal(1) }),
      sampleInput({
        rehearsal: sampleRehearsal(1, {
          verdict: 'does-not-converge',
          rounds: [],
          curve: [],
          convergence: 0,
          downtimeMicroseconds: 0,
        }),
      }),
      sampleInput({ sweep: sampleSweep(1, ['qemu']) }),
      sampleInput({ sweep: { ...sampleSweep(), cells: [], frontier: [] } }),
    ];
    for (const given of inputs) {
      const text = renderRehearsalReport(given).replace(/<script>.*<\/script>/s, '');
      expect(text).not.toMatch(/NaN|Infinity|undefined|null|\[object/);
    }
  });
});
