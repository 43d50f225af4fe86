import { describe, expect, it } from 'vitest';
import { firstDifference } from './recordings.ts';

const BASE = '> write 0 3\n= 3\n> snap\np0 vma 0-2 rw-p sd anon\np0 pg 0-2 P....XD\n';

describe('the comparison of recordings', () => {
  it('does not mind how pages are grouped into lines', () => {
    const split = BASE.replace('p0 pg 0-2 P....XD', 'p0 pg 0-0 P....XD\np0 pg 1-2 P....XD');
    expect(firstDifference(BASE, split)).toBeUndefined();
  });

  it('names the first step that differs, and the pages', () => {
    const other = BASE.replace('p0 pg 0-2 P....XD', 'p0 pg 0-1 P....XD\np0 pg 2-2 P....X.');
    expect(firstDifference(BASE, other)).toBe('step 2: > snap\n- p0 page 2 P....XD\n+ p0 page 2 P....X.');
  });

  it.each([
    ['a result', BASE.replace('= 3', '= -SEGV'), 'step 1: > write 0 3\n- = 3\n+ = -SEGV'],
    [
      'a mapping',
      BASE.replace(' sd ', ' -- '),
      'step 2: > snap\n- p0 vma 0-2 rw-p sd anon\n+ p0 vma 0-2 rw-p -- anon',
    ],
    ['another command', BASE.replace('> snap', '> snap p0'), 'step 2: expected > snap, got > snap p0'],
    ['the end', `${BASE}> snap\n`, 'step 3: expected > (end), got > snap'],
  ])('sees %s', (_, actual, difference) => {
    expect(firstDifference(BASE, actual)).toBe(difference);
  });

  it('takes a gibibyte of pages in its stride', () => {
    const huge = '> snap\np0 pg 0-262143 P....XD\n';
    expect(firstDifference(huge, huge.replace('262143', '262142'))).toBe(
      'step 1: > snap\n- p0 page 262143 P....XD',
    );
  });
});
