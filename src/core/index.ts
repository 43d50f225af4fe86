export { ByteFeed } from './byte-feed.ts';
export { ByteReader, ByteWriter } from './bytes.ts';
export { type MonotonicClock, machineClock } from './clock.ts';
export * from './errors.ts';
export { JsonFields } from './json-fields.ts';
export {
  formatPageAddress,
  PAGE_SIZE,
  type PageRange,
  PageRangeList,
  pageCountOf,
  parsePageAddress,
} from './pages.ts';
export { mix32, Random } from './random.ts';
export { thinned } from './thinned.ts';
export {
  formatBandwidth,
  formatBytes,
  formatCount,
  formatDuration,
  parseBandwidth,
  parseBytes,
  parseDurationMicroseconds,
} from './units.ts';
