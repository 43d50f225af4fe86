import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { declareCommands } from '../../src/cli/commands.ts';
import { ckpt } from './harness.ts';

const FOLDER = resolve(import.meta.dirname, '../../src/cli/commands');
const environment = { stdout: { write: () => {} }, stderr: { write: () => {} }, variables: {} };

async function declared(...argv: string[]): Promise<string[]> {
  const program = new Command('ckpt');
  await declareCommands(program, { environment, finish: () => {} }, argv);
  return program.commands.map((command) => command.name());
}

describe('the commands', () => {
  it('are all those that a module in src/cli/commands declares', async () => {
    const names = readdirSync(FOLDER)
      .flatMap((file) => [
        ...readFileSync(resolve(FOLDER, file), 'utf8').matchAll(/program\s*\.command\('([a-z-]+)'/g),
      ])
      .map(([, name]) => name);
    expect((await declared('--help')).sort()).toEqual(names.sort());
    expect(names.length).toBeGreaterThan(15);
  });

  it('are declared alone where one is named, all where none is, and none for the version', async () => {
    for (const name of await declared()) expect(await declared(name, '--help')).toEqual([name]);
    expect(await declared('--version')).toEqual([]);
    expect((await declared('rehers')).length).toBeGreaterThan(15);
  });

  it('are helped with as if all were there', async () => {
    expect((await ckpt('help', 'dump')).stdout).toBe((await ckpt('dump', '--help')).stdout);
    expect((await ckpt('rehers')).stderr).toContain('Did you mean rehearse?');
  });
});
