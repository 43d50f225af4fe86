import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import {
  parseWorkload,
  Simulation,
  type SimulationOptions,
  type Workload,
} from '../../src/workload/index.ts';

const FIXTURES = resolve(import.meta.dirname, '../../fixtures');

export function fixture(name: string): Workload {
  return parseWorkload(readFileSync(join(FIXTURES, name), 'utf8'), name);
}

/** A workload with one process; `body` is indented by four blanks. */
export function oneProcess(body: string, head = ''): Workload {
  return parseWorkload(`version: 1\nname: test\n${head}processes:\n  - name: p\n${body}`, 'test.yaml');
}

export function start(workload: Workload, options?: SimulationOptions): Simulation {
  return Simulation.start(workload, options);
}

/**
 * Everything that can be observed of a simulation: time, counters, and of each process its mappings, every pagemap
 * word with its frame number, and the contents of every page.
 */
export function observe(simulation: Simulation): Record<string, unknown> {
  const { kernel } = simulation;
  const counters = kernel.counters();
  return {
    nanoseconds: simulation.nowNanoseconds,
    exited: [...simulation.exited],
    faults: counters.faults,
    cost: counters.nanoseconds,
    processes: kernel.processes().map((process) => {
      const digest = createHash('sha256');
      const words = new Uint32Array(2);
      const bytes = new Uint8Array(4096);
      let pages = 0;
      for (const vma of process.vmas()) {
        for (let page = vma.startPage; page < vma.endPage; page++) {
          process.readPagemapWords(page, 1, words);
          digest.update(words);
          if ((words[1]! & 0xc0000000) === 0) continue;
          pages++;
          if (process.peekPage(page, bytes)) digest.update(bytes);
        }
      }
      return {
        pid: process.pid,
        parent: process.parentPid,
        maps: process.mapsText(),
        pages,
        minorFaults: process.minorFaults(),
        digest: digest.digest('hex'),
      };
    }),
    programs: simulation.programs.map((program) => ({
      ordinal: program.ordinal,
      phase: program.phaseIndex,
      status: program.status,
      repetitions: program.repetitions,
      ...program.counts,
    })),
  };
}
