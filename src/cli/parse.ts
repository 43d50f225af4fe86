import { InvalidArgumentError, Option } from 'commander';
import { CkptError, parseDurationMicroseconds } from '../core/index.ts';

/** Turns a parser of ckpt into one for commander, which adds the option's name to the message. */
export function argument<Value>(parse: (text: string) => Value): (text: string) => Value {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof CkptError)) throw error;
      throw new InvalidArgumentError(
        error.hint === undefined ? error.message : `${error.message}; ${error.hint}`,
      );
    }
  };
}

/** A duration option, in microseconds. */
export function durationOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser(
    argument((text: string) => parseDurationMicroseconds(text)),
  );
}

/** A duration option within what timers of Node can wait for (2^31 milliseconds), in microseconds. */
export function patienceOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser(
    argument((text: string) => {
      const microseconds = parseDurationMicroseconds(text);
      if (microseconds >= 1e6 && microseconds <= MAX_PATIENCE_HOURS * 3600e6) return microseconds;
      throw new InvalidArgumentError(`it must be from 1s to ${MAX_PATIENCE_HOURS}h.`);
    }),
  );
}

const MAX_PATIENCE_HOURS = 500;

/** Where something is to be written. */
export function outputPath(text: string): string {
  if (text !== '' && text !== '-') return text;
  throw new InvalidArgumentError(
    'it must be a path; nothing is written to standard output, and ./- is a file of that name.',
  );
}

/** A whole number within limits. */
export function integer(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > most) {
      throw new InvalidArgumentError(`it must be a whole number from ${least} to ${most}.`);
    }
    return value;
  };
}

/** The number of a checkpoint, or `latest`. */
export function checkpointNumber(text: string): number | 'latest' {
  return text === 'latest' ? text : integer(1, 999_999_999)(text);
}

/** `-D DIR`, with CKPT_STORE as its default. */
export function storeOption(): Option {
  return new Option('-D, --store <dir>', 'directory of the checkpoint store')
    .env('CKPT_STORE')
    .makeOptionMandatory();
}
