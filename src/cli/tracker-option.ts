import { Option } from 'commander';
import { TRACKER_KINDS } from '../tracker/index.ts';

/** `--tracker KIND`. */
export function trackerOption(description = 'how written pages are found'): Option {
  return new Option('--tracker <kind>', description).choices(['auto', ...TRACKER_KINDS]).default('auto');
}
