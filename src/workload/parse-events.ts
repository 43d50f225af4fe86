import { ADVICES, EVENT_NAMES, type EventAction, type EventDefinition, type RegionPart } from './model.ts';
import { pagesOf } from './parse-streams.ts';
import { type ScopeUses, usedRegion } from './scopes.ts';
import type { YamlField } from './yaml-fields.ts';

/** One phase may hold this many events, those of `every` counted one by one. */
const LARGEST_EVENT_COUNT = 100_000;

const COMMON_FIELDS = ['at', 'every', 'do'] as const;
const PART_FIELDS = [...COMMON_FIELDS, 'region', 'from', 'span'] as const;

type ActionParser = (event: YamlField, uses: ScopeUses) => EventAction;

/** What each event takes besides `at`, `every` and `do`. */
const ACTIONS: Readonly<Record<(typeof EVENT_NAMES)[number], ActionParser>> = {
  mmap: (event, uses) => {
    const fields = event.fields([...COMMON_FIELDS, 'region', 'resident']);
    const residentPages = pagesOf(fields.resident.bytes(0));
    return { do: 'mmap', region: usedRegion(fields.region, uses), residentPages };
  },
  munmap: (event, uses) => ({ do: 'munmap', part: partOf(event.fields(PART_FIELDS), uses) }),
  mremap: (event, uses) => {
    const fields = event.fields([...COMMON_FIELDS, 'region', 'size', 'move']);
    const sizePages = fields.size.present ? atLeastOnePage(fields.size) : undefined;
    const move = fields.move.boolean(false);
    if (sizePages === undefined && !move) throw event.error('changes nothing', 'give it size, move or both');
    return { do: 'mremap', region: usedRegion(fields.region, uses), sizePages, move };
  },
  mprotect: (event, uses) => {
    const fields = event.fields([...PART_FIELDS, 'access']);
    const access = fields.access.choice(['none', 'read', 'read-write']);
    return { do: 'mprotect', part: partOf(fields, uses), access };
  },
  madvise: (event, uses) => {
    const fields = event.fields([...PART_FIELDS, 'advice']);
    return { do: 'madvise', part: partOf(fields, uses), advice: fields.advice.choice(ADVICES) };
  },
  brk: (event, uses) => {
    const fields = event.fields([...COMMON_FIELDS, 'region', 'size']);
    const region = usedRegion(fields.region, uses, 'heap');
    return { do: 'brk', region, sizePages: atLeastOnePage(fields.size) };
  },
  fork: (event, uses) => {
    const fields = event.fields([...COMMON_FIELDS, 'program', 'count']);
    const program = fields.program.name();
    uses.programs.push({ name: program, field: fields.program });
    return { do: 'fork', program, count: fields.count.integer(1, 1000, 1) };
  },
  exit: (event) => {
    event.fields(COMMON_FIELDS);
    return { do: 'exit' };
  },
  'swap-out': (event, uses) => {
    const fields = event.fields([...PART_FIELDS, 'share']);
    return { do: 'swap-out', part: partOf(fields, uses), share: fields.share.share(1) };
  },
  thp: (event, uses) => {
    const fields = event.fields([...PART_FIELDS, 'action']);
    return { do: 'thp', part: partOf(fields, uses), action: fields.action.choice(['collapse', 'split']) };
  },
};

/** The `events` of a phase in time order, those of `every` written out. */
export function parseEvents(
  list: YamlField,
  durationNanoseconds: number,
  uses: ScopeUses,
): EventDefinition[] {
  const events: EventDefinition[] = [];
  for (const event of list.items()) {
    const action = ACTIONS[event.child('do').choice(EVENT_NAMES)](event, uses);
    const every = event.child('every');
    const step = every.present ? every.nanoseconds() : durationNanoseconds;
    if (step < 1000) throw every.error('must be at least 1us');
    const at = event.child('at');
    const first = at.nanoseconds(every.present ? step : undefined);
    if (first >= durationNanoseconds) {
      throw (at.present ? at : every).error('is not inside the phase', 'events happen before its end');
    }
    for (let time = first; time < durationNanoseconds; time += step) {
      if (events.length >= LARGEST_EVENT_COUNT) {
        throw event.error(`a phase has at most ${LARGEST_EVENT_COUNT} events`, 'repeat a shorter phase');
      }
      events.push({ atNanoseconds: time, action, line: event.line });
    }
  }
  return events.sort((left, right) => left.atNanoseconds - right.atNanoseconds);
}

function partOf(fields: Record<'region' | 'from' | 'span', YamlField>, uses: ScopeUses): RegionPart {
  return {
    region: usedRegion(fields.region, uses),
    fromPage: pagesOf(fields.from.bytes(0)),
    pageCount: fields.span.present ? atLeastOnePage(fields.span) : undefined,
  };
}

function atLeastOnePage(field: YamlField): number {
  const pages = pagesOf(field.bytes());
  if (pages < 1) throw field.error('must be at least one page');
  return pages;
}
