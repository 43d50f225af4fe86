import { PAGE_SIZE } from '../core/index.ts';
import { PATTERN_KINDS, type PatternKind, type StreamDefinition, type WriteStyle } from './model.ts';
import { type ScopeUses, usedRegion } from './scopes.ts';
import type { YamlField } from './yaml-fields.ts';

/** The page description has eight bits for the kind of store. */
const LARGEST_STYLE_COUNT = 255;

/** Fields that only some patterns understand. */
const FIELDS_OF_PATTERN: Readonly<Record<PatternKind, readonly string[]>> = {
  uniform: [],
  zipf: ['theta', 'spread'],
  'hot-cold': ['hot', 'probability', 'spread'],
  sequential: [],
  strided: ['stride'],
  append: [],
  'rewrite-in-place': ['changed'],
};

const STREAM_FIELDS = [
  'region',
  'pattern',
  'rate',
  'bytes',
  'from',
  'span',
  'theta',
  'hot',
  'probability',
  'spread',
  'stride',
  'changed',
] as const;
type StreamFields = Record<(typeof STREAM_FIELDS)[number], YamlField>;

/** Whole pages that hold `bytes`. */
export function pagesOf(bytes: number): number {
  return Math.ceil(bytes / PAGE_SIZE);
}

/** One entry of `writes` or `reads`; a new kind of store is added to `styles`. */
export function parseStream(
  field: YamlField,
  access: 'write' | 'read',
  styles: WriteStyle[],
  uses: ScopeUses,
): StreamDefinition {
  const fields = field.fields(STREAM_FIELDS);
  const kind = fields.pattern.choice(PATTERN_KINDS);
  refuseForeignFields(fields, kind);
  if (access === 'read') {
    if (fields.bytes.present) throw fields.bytes.error('has no meaning for a read');
    if (kind === 'append' || kind === 'rewrite-in-place') {
      throw fields.pattern.error(`'${kind}' is a pattern of writes only`);
    }
  }
  const bytes = access === 'read' ? PAGE_SIZE : fields.bytes.bytes();
  if (bytes < 1 || bytes > PAGE_SIZE) throw fields.bytes.error('one write changes between 1 and 4096 bytes');
  return {
    region: usedRegion(fields.region, uses),
    pattern: parsePattern(fields, kind, bytes),
    perSecond: fields.rate.perSecond(),
    style:
      access === 'read'
        ? undefined
        : styleNumber(field, styleOf(kind, bytes, fields.changed.share(0)), styles),
  };
}

function refuseForeignFields(fields: StreamFields, kind: PatternKind): void {
  const known = FIELDS_OF_PATTERN[kind];
  for (const owner of PATTERN_KINDS) {
    for (const name of FIELDS_OF_PATTERN[owner]) {
      const field = fields[name as keyof StreamFields];
      if (field.present && !known.includes(name)) {
        throw field.error(`has no meaning for pattern '${kind}'`, `it belongs to '${owner}'`);
      }
    }
  }
}

function parsePattern(fields: StreamFields, kind: PatternKind, bytes: number): StreamDefinition['pattern'] {
  const spanPages = fields.span.present ? pagesOf(fields.span.bytes()) : undefined;
  if (spanPages === 0) throw fields.span.error('a pattern uses at least one page');
  return {
    kind,
    fromPage: pagesOf(fields.from.bytes(0)),
    spanPages,
    theta: kind === 'zipf' ? fields.theta.number(0.01, 5, 0.99) : 0,
    hotFraction: kind === 'hot-cold' ? fields.hot.share() : 0,
    hotProbability: kind === 'hot-cold' ? fields.probability.share() : 0,
    spread: fields.spread.boolean(true),
    stridePages: kind === 'strided' ? Math.max(1, pagesOf(fields.stride.bytes())) : 1,
    writesPerPage: kind === 'append' ? Math.floor(PAGE_SIZE / bytes) : 1,
  };
}

function styleOf(kind: PatternKind, bytes: number, changed: number): WriteStyle {
  return {
    bytes,
    order: kind === 'append' ? 'ascending' : 'scattered',
    changedShare: kind === 'rewrite-in-place' ? changed : 1,
  };
}

function styleNumber(field: YamlField, style: WriteStyle, styles: WriteStyle[]): number {
  const known = styles.findIndex(
    (other) =>
      other.bytes === style.bytes && other.order === style.order && other.changedShare === style.changedShare,
  );
  if (known >= 0) return known;
  if (styles.length >= LARGEST_STYLE_COUNT) {
    throw field.error(`a workload has at most ${LARGEST_STYLE_COUNT} different kinds of writes`);
  }
  return styles.push(style) - 1;
}
