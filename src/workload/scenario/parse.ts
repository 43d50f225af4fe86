import { ScenarioError } from '../../core/index.ts';
import { ACCESS_OPERATIONS } from './access-operations.ts';
import { LineArguments } from './arguments.ts';
import { MACHINE_OPERATIONS } from './machine-operations.ts';
import { MAPPING_OPERATIONS } from './mapping-operations.ts';
import type { Operation, OperationTable } from './operation.ts';
import { LifecycleNames } from './process-names.ts';
import { TRACKING_OPERATIONS } from './tracking-operations.ts';

/** One executable line of a scenario. */
export interface ScenarioLine {
  readonly number: number;
  /** The line without comment and trailing blanks, as it is echoed. */
  readonly text: string;
  /** The process that executes it. */
  readonly actor: string;
  readonly run: Operation;
}

const FIRST_PROCESS = 'p0';
const LINE_LENGTH = 510;
const WORD_COUNT = 23;

/** Operations of the machine or of the controller: they work on a process that is dead, too. */
const OUTSIDE = new Set(
  [...Object.keys(MACHINE_OPERATIONS), 'clear', 'snap', 'pmread', 'scan', 'exit'].concat([
    'procmem',
    'procmemread',
    'vmreadv',
    'vmwritev',
  ]),
);
OUTSIDE.delete('migrate');
OUTSIDE.delete('faults');

const OPERATIONS: OperationTable = {
  ...MAPPING_OPERATIONS,
  ...ACCESS_OPERATIONS,
  ...MACHINE_OPERATIONS,
  ...TRACKING_OPERATIONS,
};

/**
 * Reads the whole of a scenario.
 * @param name what error messages call it: a file name.
 * @throws ScenarioError naming the first line that is wrong.
 */
export function parseScenario(text: string, name: string): ScenarioLine[] {
  const names = new LifecycleNames(FIRST_PROCESS);
  const lines: ScenarioLine[] = [];
  text.split('\n').forEach((raw, index) => {
    const content = raw.replace(/#.*$/s, '').trimEnd();
    if (content !== '') lines.push(parseLine(content, `${name}:${index + 1}`, index + 1, names));
  });
  return lines;
}

function parseLine(text: string, place: string, number: number, names: LifecycleNames): ScenarioLine {
  const words = text.split(/[ \t]+/).filter((word) => word !== '');
  if (text.length > LINE_LENGTH || words.length > WORD_COUNT)
    throw new ScenarioError(`${place}: line too long`);
  const printable = [...text].every((letter) => letter === '\t' || (letter >= ' ' && letter <= '~'));
  if (!printable) throw new ScenarioError(`${place}: characters beyond ASCII in an operation`);
  const label = words[0]!.endsWith(':') ? words.shift()!.slice(0, -1) : undefined;
  const actor = label ?? FIRST_PROCESS;
  if (!names.exists(actor)) throw new ScenarioError(`${place}: no process ${JSON.stringify(actor)}`);
  const operation = words.shift();
  if (operation === undefined) throw new ScenarioError(`${place}: no operation after ${label}:`);
  if (!OUTSIDE.has(operation)) names.requireAlive(actor, place);
  const run = parseOperation(new LineArguments(place, operation, words), actor, names);
  return { number, text, actor, run };
}

function parseOperation(words: LineArguments, actor: string, names: LifecycleNames): Operation {
  const { operation } = words;
  if (operation === 'fork') {
    const child = words.word('the name of the child');
    words.end();
    names.fork(actor, child, (problem) => words.fail(problem));
    return (machine, subject) => {
      machine.fork(subject, child);
      machine.result(0);
    };
  }
  if (operation === 'exit') {
    words.end();
    names.exit(actor);
    return (machine, subject) => {
      machine.exit(subject);
      machine.result(0);
    };
  }
  if (operation === 'exec') {
    words.end();
    return (machine, subject) => machine.result(subject.exec());
  }
  const parser = Object.hasOwn(OPERATIONS, operation) ? OPERATIONS[operation] : undefined;
  if (parser === undefined) words.fail('unknown operation');
  return parser(words, names);
}
