import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseMaps, parseSmapsFlags } from '../../src/procfs/index.ts';

const ONE = `7f0000000000-7f0000200000 rw-p 00000000 00:00 0 
Size:               2048 kB
Rss:                   4 kB
THPeligible:           0
VmFlags: rd wr mr mw me ac sd 
`;
const TWO = `7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
Size:                132 kB
VmFlags: rd wr mr mw me gd ac 
`;

describe('smaps', () => {
  it('gives each mapping its flags', () => {
    const entries = parseSmapsFlags(ONE + TWO);
    expect(entries.map(({ startPage, pathname, flags }) => [startPage, pathname, flags.join(' ')])).toEqual([
      [0x7f0000000, '', 'rd wr mr mw me ac sd'],
      [0x7ffd00000, '[stack]', 'rd wr mr mw me gd ac'],
    ]);
  });

  it('is empty for a kernel that prints no flags, and for no process', () => {
    expect(parseSmapsFlags(ONE.replace(/VmFlags.*\n/, ''))).toEqual([]);
    expect(parseSmapsFlags('')).toEqual([]);
  });

  it('takes a mapping without flags as such, and a text cut short as far as it goes', () => {
    expect(parseSmapsFlags(ONE.replace(/VmFlags: .*/, 'VmFlags: '))[0]!.flags).toEqual([]);
    expect(parseSmapsFlags(ONE + TWO.slice(0, 60))).toHaveLength(1);
    expect(parseSmapsFlags(ONE.trimEnd())[0]!.flags).toContain('sd');
  });

  it('agrees with maps about a real process', () => {
    const maps = parseMaps(readFileSync('/proc/self/maps', 'latin1'));
    const known = new Set(
      parseSmapsFlags(readFileSync('/proc/self/smaps', 'latin1')).map(({ startPage }) => startPage),
    );
    expect(maps.filter(({ startPage }) => known.has(startPage)).length).toBeGreaterThan(maps.length / 2);
  });
});
