import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const DEMO = fileURLToPath(new URL('../../bin/demo.js', import.meta.url));

it('the demonstration dumps and restores twice six times, every byte equal', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [DEMO], { encoding: 'utf8' });
  expect(stderr).toBe('');
  expect(stdout.match(/^ +\d +(?:base|delta) .* digest equal *$/gm)).toHaveLength(6);
  expect(stdout.match(/^ +\d +(?:base|delta) .* every byte equal *$/gm)).toHaveLength(6);
  expect(status).toBe(0);
});
