import { formatBandwidth, formatBytes, formatCount, formatDuration } from '../../core/index.ts';
import type { RehearsalOptions, UsualParameters } from '../../migration/index.ts';
import type { ReportParameter } from './input.ts';

/** All that a rehearsal goes by, also what it takes for granted, with what is usual where that is something else. */
export function rehearsalParameters(options: RehearsalOptions, usual: UsualParameters): ReportParameter[] {
  const { link, choice, costs = {}, sending, giveUpAfterMicroseconds } = options;
  const { bytesPerSecond, profile = [], ...rest } = link;
  const bandwidth = [
    formatBandwidth(bytesPerSecond / usual.tcpShare),
    ...profile.map(
      (step) =>
        `from ${formatDuration(step.atMicroseconds)} on ${formatBandwidth(step.bytesPerSecond / usual.tcpShare)}`,
    ),
  ];
  const patience =
    giveUpAfterMicroseconds === undefined
      ? 'after the time for ten passes, at least 1 min'
      : `after ${formatDuration(giveUpAfterMicroseconds)}`;
  return [
    { group: 'Link', name: 'bandwidth', value: bandwidth.join(', ') },
    ...compared('Link', rest, rest),
    ...compared(`Policy ${choice.policy}`, { ...choice.options }, usual.policies[choice.policy]),
    { group: `Policy ${choice.policy}`, name: 'gives up', value: patience },
    ...compared('Costs', costs, usual.costs),
    ...(sending === undefined ? [] : compared('Sending by ckpt migrate', sending, usual.sending)),
  ];
}

/** Each field of the defaults, or of what was chosen. */
function compared(group: string, chosen: object, defaults: object): ReportParameter[] {
  const usual = new Map<string, unknown>(Object.entries(defaults));
  const all = new Map<string, unknown>([...usual, ...Object.entries(chosen)]);
  return [...all].flatMap(([field, value]) => {
    const expected = usual.get(field);
    // A setting that has one value for each kind of something.
    if (isRecord(value) && isRecord(expected)) {
      return Object.entries(value).map(([kind, part]) => {
        // Either the whole has a unit, or its parts have.
        const measured = UNITS.some(([suffix]) => suffix.test(field)) ? field : kind;
        const name = `${nameOf(field)} ${nameOf(kind) || kind}`;
        return parameter(group, name, described(measured, part), described(measured, expected[kind]));
      });
    }
    const usualText = usual.has(field) ? described(field, expected) : undefined;
    return [parameter(group, nameOf(field), described(field, value), usualText)];
  });
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parameter(group: string, name: string, value: string, usual: string | undefined): ReportParameter {
  return { group, name, value, ...(usual === undefined || usual === value ? {} : { usual }) };
}

/** Units that names of fields end with, and how their values are written. */
const UNITS: readonly (readonly [suffix: RegExp, format: (value: number) => string])[] = [
  [/Microseconds$/, formatDuration],
  [/MicrosecondsPerGibibyte$/, (value) => `${formatDuration(value)} for each GiB`],
  [/NanosecondsPerByte$/, (value) => `${value.toFixed(2)} ns for each byte`],
  [/Nanoseconds$/, (value) => formatDuration(value / 1000).replace(/^0 us$/, `${Math.round(value)} ns`)],
  [
    /BytesPerSecond$|(?<=Bandwidth|Rate|^rateIncrement)$/,
    (value) => (value === 0 ? 'no limit' : formatBandwidth(value)),
  ],
  [/Bytes$/, formatBytes],
  [/Pages$/, (value) => `${formatCount(value)} pages`],
  [/(?<=Throttle|Initial|Increment|Threshold)$/, (value) => `${value} %`],
  [/(?<=DirtyLimit)$/, (value) => `${value} MiB/s`],
  [/[sS]hare$|(?<=^loss|^uncertainty|^unchanged)$/, (value) => `${Math.round(value * 1000) / 10} %`],
];

function described(field: string, value: unknown): string {
  if (value === undefined) return /share$/i.test(field) ? 'as sampled' : 'no';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (value === Number.POSITIVE_INFINITY) return 'no limit';
  if (typeof value === 'number') {
    const unit = UNITS.find(([suffix]) => suffix.test(field));
    return unit === undefined ? String(Math.round(value * 100) / 100) : unit[1](value);
  }
  if (isList(value))
    return value.length === 0 ? 'none' : value.map((each) => described(field, each)).join('; ');
  if (!isRecord(value)) return String(value);
  // A thing in a unit of its own, or one of several facts.
  return Object.entries(value)
    .map(([kind, part]) =>
      kind === 'microseconds' ? formatDuration(Number(part)) : `${kind} ${described(kind, part)}`,
    )
    .join(', ');
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

/** `downtimeLimitMicroseconds` as options are written: `downtime-limit`. */
function nameOf(field: string): string {
  const unit = UNITS.find(([suffix]) => suffix.test(field));
  const name = unit === undefined ? field : field.replace(unit[0], '');
  return name.replaceAll(/[A-Z]/g, (capital) => `-${capital.toLowerCase()}`);
}
