export { CLEAR_REFS } from './clear-refs.ts';
export { formatMapsLine, type MapsEntry, parseMaps, parseMapsLine } from './maps.ts';
export { PAGEMAP_HIGH, PAGEMAP_WORD_BYTES, pagemapFrame } from './pagemap.ts';
export {
  type PagemapScanRegion,
  type PagemapScanRequest,
  type PagemapScanResult,
  SCAN_CATEGORY,
  SCAN_FLAG,
} from './pagemap-scan.ts';
export { parseSmapsFlags, type SmapsEntry } from './smaps.ts';
export { parseTaskStat, TASK_FLAG_KERNEL_THREAD, type TaskStat } from './task-stat.ts';
