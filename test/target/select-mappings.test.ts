import { describe, expect, it } from 'vitest';
import { parseMapsLine } from '../../src/procfs/index.ts';
import { decideMapping, decideMappings, selectMappings, type Vma } from '../../src/target/index.ts';

function vma(permissions: string, inode: number, pathname: string, flags = ''): Vma {
  const device = inode === 0 ? '00:00' : '08:01';
  const entry = parseMapsLine(
    `7f0000000000-7f0000004000 ${permissions} 00000000 ${device} ${inode} ${pathname}`.trimEnd(),
  );
  return { ...entry!, flags: flags === '' ? [] : flags.split(' ') };
}

describe('which mappings are dumped', () => {
  it.each([
    ['rw-p', 0, '', 'rd wr', 'existing'],
    ['rw-p', 0, '[heap]', '', 'existing'],
    ['rw-p', 0, '[stack]', 'gd', 'existing'],
    ['rw-p', 0, '[anon:jemalloc]', '', 'existing'],
    ['---p', 0, '', '', 'existing'],
    ['rw-p', 5, '/dev/zero', '', 'existing'],
    ['rw-p', 77, '/usr/lib/libc.so.6', '', 'copied'],
    ['r-xp', 77, '/usr/bin/redis-server (deleted)', '', 'copied'],
    ['rw-s', 5, '/dev/zero (deleted)', 'sh', 'object'],
    ['rw-s', 5, '/SYSV00000000 (deleted)', '', 'object'],
    ['rw-s', 5, '/memfd:ring (deleted)', '', 'object'],
    ['rw-p', 5, '/anon_hugepage (deleted)', 'ht', 'untracked'],
    ['rw-p', 5, '/mnt/huge/file', 'ht', 'untracked'],
    ['rw-s', 5, '/anon_hugepage (deleted)', 'ht', 'untracked'],
    ['r-xp', 0, '[vdso]', 'de', 'every'],
    ['rw-s', 9, '/[aio] (deleted)', '', 'every'],
    ['rw-s', 9, '/var/lib/data', '', 'none'],
    ['rw-s', 9, '/var/lib/data (deleted)', '', 'none'],
    ['rw-s', 9, '/dev/shm/segment', '', 'none'],
    ['rw-s', 9, '/dev/nvidia0', '', 'none'],
    ['rw-s', 9, 'anon_inode:[io_uring]', '', 'none'],
    ['rw-s', 9, '/secretmem (deleted)', '', 'none'],
    ['r--p', 0, '[vvar]', 'io pf dd', 'none'],
    ['r--p', 0, '[vvar_vclock]', 'pf', 'none'],
    ['--xp', 0, '[vsyscall]', '', 'none'],
    ['rw-p', 9, '/dev/mem', 'io pf', 'none'],
    ['rw-p', 0, '', 'rd wr dp wf', 'none'],
  ])('%s inode %i %s (%s): %s', (permissions, inode, pathname, flags, rule) => {
    const mapping = vma(permissions, inode, pathname, flags);
    const decision = decideMapping(mapping);
    expect(decision.rule).toBe(rule);
    expect(decision.reason).toMatch(/^\w.{10,}/);
    expect(selectMappings([mapping])).toEqual(rule === 'none' ? [] : [mapping]);
  });

  it('keeps the order of the mappings', () => {
    const mappings = [vma('rw-p', 0, ''), vma('r--p', 0, '[vvar]'), vma('rw-p', 0, '[heap]')];
    expect(decideMappings(mappings).map((decision) => decision.vma)).toEqual(mappings);
    expect(selectMappings(mappings)).toEqual([mappings[0], mappings[2]]);
  });
});
