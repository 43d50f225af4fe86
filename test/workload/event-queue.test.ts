import { describe, expect, it } from 'vitest';
import { EventQueue } from '../../src/workload/index.ts';

describe('EventQueue', () => {
  it('names the pages of each process once, in order', () => {
    const queue = new EventQueue(10);
    for (const page of [5, 3, 4, 5, 9]) queue.store(7, page);
    queue.store(8, 1);
    const contents = queue.drain();
    expect(contents).toMatchObject({ events: 6, lostEvents: 0, fullScanNeeded: false });
    expect([...contents.pagesOfProcess.get(7)!]).toEqual([
      { startPage: 3, endPage: 6 },
      { startPage: 9, endPage: 10 },
    ]);
    expect([...contents.pagesOfProcess.get(8)!]).toEqual([{ startPage: 1, endPage: 2 }]);
    expect(queue.drain()).toMatchObject({ events: 0, lostEvents: 0 });
  });

  it('notices that it overflowed, counts what it lost, asks for a full scan, and recovers', () => {
    const queue = new EventQueue(3);
    for (let page = 0; page < 10; page++) queue.store(1, page);
    expect(queue.drain()).toMatchObject({ events: 3, lostEvents: 7, fullScanNeeded: true });
    queue.store(1, 2);
    expect(queue.drain()).toMatchObject({ events: 1, lostEvents: 0, fullScanNeeded: false });
  });
});
