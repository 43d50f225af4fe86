import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import axe from 'axe-core';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { renderRehearsalReport } from '../../src/report/index.ts';
import { sampleInput } from '../report/html/sample.ts';
import { lacking } from './programs.ts';

const CHROMIUM = '/usr/bin/chromium';

/** Nothing of the browser's own may use the network, so that what does is the page. */
const QUIET = [
  '--no-sandbox',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-default-apps',
  '--disable-domain-reliability',
  '--disable-extensions',
  '--disable-sync',
  '--metrics-recording-only',
  '--no-first-run',
  '--no-pings',
];

/** A text that would be markup, or close what it stands in, if it were not escaped. */
const HOSTILE = '</title></script>"><img src=http://192.0.2.1/x onerror=console.error(1)>';

const input = sampleInput({
  target: `redis-server ${HOSTILE}`,
  parameters: [...sampleInput().parameters, { group: 'Trace', name: 'file', value: HOSTILE }],
});

describe.skipIf(lacking(existsSync(CHROMIUM)))(`the page of a rehearsal in ${CHROMIUM}`, () => {
  let folder: string;
  let browser: Browser;
  let page: Page;
  const complaints: string[] = [];
  const requests: string[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ckpt-report-'));
    const file = join(folder, 'report.html');
    writeFileSync(file, renderRehearsalReport(input));
    // It keeps its own files in a new folder, which goes with it.
    browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args: QUIET });
    page = await browser.newPage({
      viewport: { width: 1280, height: 900 },
      colorScheme: 'light',
      permissions: ['clipboard-read', 'clipboard-write'],
    });
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('request', (request) => requests.push(request.url()));
    await page.goto(pathToFileURL(file).href);
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const violations = async () => {
    // The page's own policy forbids scripts from elsewhere; a debugger's are not bound by it.
    await page.evaluate(axe.source);
    const found = await page.evaluate(
      "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html, failureSummary }) => html.slice(0, 200) + failureSummary).join()))",
    );
    return found as string[];
  };
  const background = () => page.evaluate('getComputedStyle(document.body).backgroundColor');

  it('shows its charts', async () => {
    expect(await page.title()).toContain('redis-server </title></script>');
    expect(await page.locator('h1').innerText()).toContain('qemu converges');
    const curve = await page.locator('#over-time path.line.remaining').boundingBox();
    expect(curve!.width).toBeGreaterThan(800);
    expect(curve!.height).toBeGreaterThan(200);
    expect(await page.locator('[role=slider]').count()).toBe(5);
  });

  it('lets charts be reached and walked through by keys', async () => {
    const chart = page.getByRole('slider', { name: /Remaining memory over time/ });
    await page.locator('#theme').focus();
    for (let presses = 0; presses < 5; presses++) {
      await page.keyboard.press('Tab');
      if ((await page.evaluate('document.activeElement.role')) === 'slider') break;
    }
    expect(await chart.getAttribute('aria-valuetext')).toBe('at 3.0 ms, remaining 2.0 GiB, round 1');
    await page.keyboard.press('ArrowRight');
    expect(await chart.getAttribute('aria-valuetext')).toBe('at 921 ms, remaining 1.9 GiB, round 1');
    expect(await chart.locator('.tip').innerText()).toBe('at 921 ms\nremaining 1.9 GiB\nround 1');
    await page.keyboard.press('End');
    expect(await chart.getAttribute('aria-valuenow')).toBe(String(input.rehearsal.curve.length - 1));
    await page.keyboard.press('Escape');
    expect(await chart.locator('.tip').isVisible()).toBe(false);

    const heat = page.getByRole('slider', { name: /Written pages by mapping/ });
    await heat.focus();
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('ArrowDown');
    expect(await heat.getAttribute('aria-valuetext')).toMatch(
      /^\[anon\] 7f1c20000000 0x2dc6c0000, 96\.0 MiB, at 0 us, \d+ pages written$/,
    );
  });

  it('tells what lies under the pointer', async () => {
    await page.locator('#dirty').scrollIntoViewIfNeeded();
    const box = (await page.locator('#dirty .plot').boundingBox())!;
    await page.mouse.move(box.x + box.width / 2, box.y + 50);
    expect(await page.locator('#dirty .tip').innerText()).toMatch(
      /^at 2\d\.\d s\nlasts 500 ms\npages written/,
    );
  });

  it('copies the raw data, and offers it as a file', async () => {
    await page.getByRole('button', { name: 'Copy' }).click();
    await page.getByText('Copied.').waitFor();
    const copied = JSON.parse((await page.evaluate('navigator.clipboard.readText()')) as string) as unknown;
    expect(copied).toEqual(JSON.parse(JSON.stringify(input)));
    const download = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Download' }).click();
    expect((await download).suggestedFilename()).toBe('rehearsal.json');
  });

  it('lays a sweep out along other axes and shows other figures', async () => {
    const sweep = page.locator('.sweep');
    expect(await sweep.locator('table').count()).toBe(2);
    const first = sweep.locator('td[data-indices="1,1,0"]');
    expect(await first.innerText()).toContain('300 ms');
    await page.getByLabel('Show').selectOption('sent');
    expect(await first.innerText()).toContain('3.8 GiB');
    await page.getByLabel('across').selectOption('policy');
    expect(await sweep.locator('table').count()).toBe(3);
    expect(await sweep.locator('caption').allInnerTexts()).toEqual([
      'downtime-limit 50ms',
      'downtime-limit 300ms',
      'downtime-limit 1s',
    ]);
    expect(await sweep.locator('td[data-indices]').count()).toBe(36);
  });

  it('has no flaw in accessibility that is found by rules, in both themes', async () => {
    expect(await violations()).toEqual([]);
    const light = await background();
    await page.locator('#theme').click();
    expect(await background()).not.toBe(light);
    expect(await page.locator('#theme').innerText()).toBe('Light colours');
    await page.evaluate(
      "document.querySelectorAll('details').forEach((details) => { details.open = true; })",
    );
    expect(await violations()).toEqual([]);
    await page.locator('#theme').click();
    expect(await background()).toBe(light);
  });

  it("follows the system's theme until another one is chosen", async () => {
    await page.reload();
    const light = await background();
    await page.emulateMedia({ colorScheme: 'dark' });
    expect(await background()).not.toBe(light);
    await page.emulateMedia({ colorScheme: 'light' });
  });

  it('fits a telephone', async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390);
  });

  it('shows its charts without its script, too', async () => {
    const still = await browser.newPage({ javaScriptEnabled: false });
    await still.goto(page.url());
    const curve = await still.locator('#over-time path.line.remaining').boundingBox();
    expect(curve!.width).toBeGreaterThan(800);
    expect(await still.getByRole('button').count()).toBe(0);
    expect(await still.locator('.sweep .ends').first().innerText()).toContain('ms');
    await still.close();
  });

  it('asked for nothing but itself, and complained of nothing', () => {
    expect([...new Set(requests)]).toEqual([pathToFileURL(join(folder, 'report.html')).href]);
    expect(complaints).toEqual([]);
  });
});
