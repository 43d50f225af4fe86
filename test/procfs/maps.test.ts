import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { formatMapsLine, parseMaps, parseMapsLine } from '../../src/procfs/index.ts';

const SAMPLE = `55d0c9a00000-55d0c9a02000 r--p 00001000 fe:01 1835           /usr/bin/cat
55d0cb1e5000-55d0cb206000 rw-p 00000000 00:00 0                          [heap]
7f35a4a00000-7f35a4a21000 rw-s 00000000 00:01 2049                       /dev/zero (deleted)
7f35a4b00000-7f35a4b21000 rw-p 00000000 00:00 0 
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
`;

describe('maps', () => {
  it('parses every field, the vsyscall page at the top of 64-bit space included', () => {
    const entries = parseMaps(SAMPLE);
    expect(entries).toHaveLength(5);
    expect(entries[0]).toMatchObject({
      startPage: 0x55d0c9a00,
      offsetPages: 1,
      deviceMajor: 0xfe,
      inode: 1835,
    });
    expect(entries[2]).toMatchObject({ shared: true, pathname: '/dev/zero (deleted)' });
    expect(entries[3]!.pathname).toBe('');
    expect(entries[4]).toMatchObject({ startPage: 0xffffffffff600, endPage: 0xffffffffff601, execute: true });
  });

  it('prints lines as the kernel does', () => {
    const lines = SAMPLE.split('\n').slice(1, 5);
    expect(lines.map((line) => formatMapsLine(parseMapsLine(line)!))).toEqual(lines);
  });

  it.runIf(existsSync('/proc/self/maps'))('reprints the maps of this very process byte for byte', () => {
    const text = readFileSync('/proc/self/maps', 'utf8');
    expect(
      parseMaps(text)
        .map((entry) => `${formatMapsLine(entry)}\n`)
        .join(''),
    ).toBe(text);
  });

  it('refuses other text', () => {
    expect(() => parseMaps('hello\n')).toThrow('cannot parse this line of maps: "hello"');
    expect(parseMapsLine('VmFlags: rd wr mr mw me ac sd')).toBeUndefined();
  });
});
