import { ScenarioError } from '../../core/index.ts';
import type { KernelVersion } from '../../kernel/index.ts';
import { Hopeless, ScenarioMachine } from './machine.ts';
import { parseScenario } from './parse.ts';

export interface ScenarioOptions {
  /** What messages call the scenario; default `scenario`. */
  readonly name?: string;
  /** The kernel to simulate; default 6.1. */
  readonly version?: KernelVersion;
}

/**
 * Runs a scenario on the simulated kernel.
 * @returns the text that the recording interpreter prints on a real kernel of that version.
 * @throws ScenarioError for text that is no scenario, naming the line; and for one that would wait for ever.
 */
export function runScenario(text: string, options: ScenarioOptions = {}): string {
  const name = options.name ?? 'scenario';
  const lines = parseScenario(text, name);
  const machine = new ScenarioMachine(options.version ?? '6.1');
  for (const line of lines) {
    machine.print(`> ${line.text}`);
    try {
      line.run(machine, machine.subject(line.actor));
    } catch (error) {
      if (!(error instanceof Hopeless)) throw error;
      throw new ScenarioError(`${name}:${line.number}: ${line.text}: ${error.message}`, {
        hint: error.hint,
        cause: error,
      });
    }
  }
  return machine.text();
}
