import { PageRangeList } from '../core/index.ts';
import type { NewProcess } from '../store/index.ts';
import { objectPages, type PageSource } from './index-feeder.ts';
import type { PreviousPages } from './previous-pages.ts';

interface KnownObject {
  readonly present: PageRangeList;
  readonly places: PreviousPages;
}

/** Objects of shared memory first: processes take entries of their index from them. */
export function objectsFirst(processes: readonly NewProcess[]): NewProcess[] {
  const isObject = ({ sharedMemory }: NewProcess) => sharedMemory !== undefined;
  return [...processes.filter(isObject), ...processes.filter((process) => !isObject(process))];
}

/** The objects of shared memory of a checkpoint that is being written, for processes that map them. */
export class SharedObjects {
  readonly #objects = new Map<number, KnownObject>();

  /** Adds an object whose index is complete. */
  add(pid: number, present: PageRangeList, places: PreviousPages): void {
    this.#objects.set(pid, { present, places });
  }

  /**
   * What a process shows of objects.
   * @param own pages that it has otherwise, which count more
   * @returns `shown`: everywhere that it maps objects, pages or not
   * @throws RangeError if it maps an object that was not added, or two at one place
   */
  shownBy({ pid, sharedRanges, vmas }: NewProcess, own: PageRangeList): ShownObjects {
    const ranges = [...(sharedRanges ?? [])].sort((a, b) => a.startPage - b.startPage);
    const shown = PageRangeList.of(...ranges).intersection(PageRangeList.of(...vmas));
    const possible = shown.difference(own);
    const sources = ranges.map((range) => {
      const object = this.#objects.get(range.objectPid);
      if (object === undefined)
        throw new RangeError(`process ${pid} maps object ${range.objectPid}, which is unknown`);
      return objectPages(range, object.present, object.places, possible);
    });
    return { shown, sources };
  }
}

/** Pages of objects in a process. */
export interface ShownObjects {
  readonly shown: PageRangeList;
  readonly sources: readonly PageSource[];
}
