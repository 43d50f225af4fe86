import { parseBandwidth, parseBytes, parseDurationMicroseconds, UsageError } from '../../core/index.ts';
import type { AxisValue, SweepAxis } from './result.ts';

/** What the values of an option are, and how one is read. */
interface AxisKind {
  /** @throws UsageError */
  readonly parse: (text: string) => AxisValue['value'];
  /** Whether a range from one value to another makes sense. */
  readonly hasRanges: boolean;
  readonly isWhole?: boolean;
}

const SIGNIFICANT_DIGITS = 3;
const MOST_VALUES = 1000;
const MOST_COMBINATIONS = 5000;

const bandwidth: AxisKind = { parse: (text) => parseBandwidth(text), hasRanges: true };
const limit: AxisKind = { parse: (text) => (text === '0' ? 0 : parseBandwidth(text)), hasRanges: true };
const duration: AxisKind = { parse: (text) => parseDurationMicroseconds(text), hasRanges: true };
const size: AxisKind = { parse: (text) => parseBytes(text), hasRanges: true };
const flag: AxisKind = { ...words('on', 'off'), parse: (text) => words('on', 'off').parse(text) === 'on' };
const throttle = whole(1, 99);

/** The options of `ckpt rehearse` that can take several values, with their values' units as those options have them. */
const AXES: Readonly<Record<string, AxisKind>> = {
  bandwidth,
  rtt: duration,
  jitter: duration,
  loss: { parse: parseLoss, hasRanges: true },
  setup: duration,
  'state-size': size,
  policy: words('qemu', 'xen', 'clark', 'phaul', 'criu', 'fixed'),
  strategy: words('pre-copy', 'post-copy', 'hybrid', 'stop-and-copy'),
  'max-bandwidth': limit,
  'downtime-limit': duration,
  'max-rounds': whole(0, 100_000),
  'give-up-after': duration,
  'auto-converge': flag,
  'cpu-throttle-initial': throttle,
  'cpu-throttle-increment': throttle,
  'max-cpu-throttle': throttle,
  'throttle-trigger-threshold': throttle,
  'dirty-limit': flag,
  'vcpu-dirty-limit': whole(1, 1e6),
  xbzrle: flag,
  'xbzrle-cache-size': size,
  'multifd-channels': whole(1, 255),
  'multifd-compression': words('none', 'zstd', 'zlib'),
  'postcopy-after': whole(0, 100_000),
  'postcopy-preempt': flag,
  'max-postcopy-bandwidth': bandwidth,
  'clear-log': words('at-sync', 'before-send'),
  'compression-ratio': { parse: parseRatio, hasRanges: true },
};

/**
 * Reads the axes of a sweep: `bandwidth=1..40Gbit/s:log8,downtime-limit=50ms,300ms,1s,policy=qemu,clark`. A comma goes
 * on to the next value, or, where a name and `=` follow, to the next axis; `a..b:logN` and `a..b:linN` are N values
 * from a to b, evenly spread by their ratios or their differences.
 * @throws UsageError naming the axis and the value that is wrong, or if there are too many combinations.
 */
export function parseSweep(text: string): SweepAxis[] {
  const axes: { name: string; values: AxisValue[] }[] = [];
  for (const piece of text.split(',')) {
    const [, name, value] = /^\s*([a-z][a-z-]*)=(.*)$/s.exec(piece) ?? [undefined, undefined, piece];
    if (name !== undefined) {
      if (axes.some((axis) => axis.name === name)) throw new UsageError(`two axes are called ${name}`);
      kindOf(name);
      axes.push({ name, values: [] });
    }
    const axis = axes.at(-1);
    if (axis === undefined) {
      throw new UsageError(`a sweep begins with the name of an axis, not with '${piece}'`, {
        hint: 'write it like bandwidth=1..40Gbit/s:log8,policy=qemu,clark',
      });
    }
    for (const each of valuesOf(axis.name, value!.trim())) {
      if (!axis.values.some((known) => known.label === each.label)) axis.values.push(each);
    }
  }
  const combinations = axes.reduce((product, { values }) => product * values.length, 1);
  if (combinations > MOST_COMBINATIONS) {
    throw new UsageError(`${combinations} combinations are too many for a sweep`, {
      hint: `leave values out until there are at most ${MOST_COMBINATIONS}`,
    });
  }
  return axes;
}

function kindOf(name: string): AxisKind {
  const kind = Object.hasOwn(AXES, name) ? AXES[name] : undefined;
  if (kind !== undefined) return kind;
  throw new UsageError(`'${name}' cannot be swept`, { hint: `axes are ${Object.keys(AXES).join(', ')}` });
}

function valuesOf(axis: string, text: string): AxisValue[] {
  const range = /^(.*?)\.\.(.*):(log|lin)(\d+)$/.exec(text);
  if (range === null) {
    if (text.includes('..')) {
      throw new UsageError(`${axis}: '${text}' does not say how many values`, {
        hint: 'write it like 1..40Gbit/s:log8, or :lin8',
      });
    }
    return [axisValue(axis, text)];
  }
  const [, from, to, scale, count] = range;
  return rangeOf(axis, from!, to!, scale === 'log', Number(count));
}

function axisValue(axis: string, text: string): AxisValue {
  try {
    return { label: text, value: kindOf(axis).parse(text) };
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`${axis}: ${error.message}`, error.hint === undefined ? {} : { hint: error.hint });
  }
}

/** Values of a range. The unit of its end is that of its beginning, if that has none. */
function rangeOf(axis: string, from: string, to: string, isLog: boolean, count: number): AxisValue[] {
  const kind = kindOf(axis);
  const low = /^\s*(\d+(?:\.\d+)?)\s*(.*?)\s*$/.exec(from);
  const high = /^\s*(\d+(?:\.\d+)?)\s*(.*?)\s*$/.exec(to);
  if (!kind.hasRanges || low === null || high === null) {
    throw new UsageError(`${axis}: '${from}..${to}' is not a range`, {
      hint: kind.hasRanges ? 'write it like 1..40Gbit/s:log8' : 'name its values, with commas between them',
    });
  }
  const unit = high[2]!;
  const first = Number(axisValue(axis, low[2] === '' ? `${low[1]}${unit}` : from).value);
  const last = Number(axisValue(axis, to).value);
  if (!(first < last)) {
    throw new UsageError(`${axis}: the range ${from}..${to} is empty`, {
      hint: 'the smaller value comes first',
    });
  }
  if (count < 2 || count > MOST_VALUES) {
    throw new UsageError(`${axis}: a range has 2 to ${MOST_VALUES} values, not ${count}`);
  }
  if (isLog && first <= 0) {
    throw new UsageError(`${axis}: a range by ratios cannot begin with 0`, {
      hint: 'use lin instead of log',
    });
  }
  const perUnit = last / Number(high[1]);
  const values: AxisValue[] = [];
  for (let index = 0; index < count; index++) {
    const share = index / (count - 1);
    const exact = isLog ? first * (last / first) ** share : first + (last - first) * share;
    const amount = kind.isWhole === true ? Math.round(exact) : significant(exact / perUnit);
    values.push(axisValue(axis, `${amount}${unit}`));
  }
  return values;
}

function significant(amount: number): number {
  return Number(amount.toPrecision(SIGNIFICANT_DIGITS));
}

function words(...known: string[]): AxisKind {
  return {
    hasRanges: false,
    parse: (text) => {
      if (known.includes(text)) return text;
      throw new UsageError(`'${text}' is none of ${known.join(', ')}`);
    },
  };
}

function whole(least: number, most: number): AxisKind {
  return {
    hasRanges: true,
    isWhole: true,
    parse: (text) => {
      const value = Number(text);
      if (/^\d+$/.test(text) && value >= least && value <= most) return value;
      throw new UsageError(`'${text}' is not a whole number from ${least} to ${most}`);
    },
  };
}

/** A share from a percentage. */
function parseLoss(text: string): number {
  const value = Number(text.replace(/%$/, ''));
  if (/^\d/.test(text) && value >= 0 && value < 100) return value / 100;
  throw new UsageError(`'${text}' is not a percentage below 100`);
}

function parseRatio(text: string): number {
  const value = Number(text);
  if (/^\d/.test(text) && value >= 1 && value <= 1000) return value;
  throw new UsageError(`'${text}' is not a ratio of 1 or more`);
}
