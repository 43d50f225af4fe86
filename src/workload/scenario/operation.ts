import type { LineArguments } from './arguments.ts';
import type { ScenarioMachine } from './machine.ts';
import type { Subject } from './subject.ts';

/** What one line does when it is executed; it prints what the recording interpreter prints below the echo. */
export type Operation = (machine: ScenarioMachine, subject: Subject) => void;

/** The processes that exist at a line, as far as the text tells. */
export interface ProcessNames {
  exists(name: string): boolean;
}

/** Turns the words behind an operation's name into what it does. */
export type OperationParser = (words: LineArguments, names: ProcessNames) => Operation;

/** Operations by name. */
export type OperationTable = Readonly<Record<string, OperationParser>>;

/** An operation that prints the result of one call. */
export function calling(call: (subject: Subject, machine: ScenarioMachine) => number): Operation {
  return (machine, subject) => machine.result(call(subject, machine));
}
