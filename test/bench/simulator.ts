import { Kernel, MAP, PROT, type Process } from '../../src/kernel/index.ts';
import { SCAN_CATEGORY } from '../../src/procfs/index.ts';
import { parseWorkload, Simulation } from '../../src/workload/index.ts';
import { atLeast, atMost, type Findings, median } from './findings.ts';

const GIB_PAGES = 262_144;
const TIB_PAGES = 1024 * GIB_PAGES;

/** How fast the simulated kernel takes stores, answers pagemap and PAGEMAP_SCAN. */
export function benchSimulator(findings: Findings): void {
  findings.begin('simulator');
  for (const pattern of ['uniform', 'sequential']) benchStores(findings, pattern);
  benchPagemap(findings);
  benchScan(findings);
}

function mapAnonymous(process: Process, pageCount: number): number {
  const start = process.mmap(
    0,
    pageCount,
    PROT.read | PROT.write,
    MAP.private | MAP.anonymous | MAP.noReserve,
  );
  if (start < 0) throw new Error(`mmap of ${pageCount} pages: ${start}`);
  return start;
}

const STORE_WORKLOAD = `version: 1
name: stores
seed: 5
processes:
  - name: server
    regions:
      heap: { size: 1GiB, resident: 1GiB, kind: anonymous, content: { kind: records } }
    phases:
      - duration: 1h
        writes:
          - { region: heap, pattern: PATTERN, rate: 4000k/s, bytes: 64 }
`;
const STORES_PER_SECOND = 4e6;

/** A program that writes all over 1 GiB; the soft-dirty bits are cleared after each four million writes. */
function benchStores(findings: Findings, pattern: string): void {
  const workload = parseWorkload(STORE_WORKLOAD.replace('PATTERN', pattern), 'stores.yaml');
  const simulation = Simulation.start(workload);
  const rates: number[] = [];
  for (let pass = 0; pass < 7; pass++) {
    simulation.programs[0]!.process.clearRefs('4');
    const began = performance.now();
    simulation.run(1e6);
    rates.push(STORES_PER_SECOND / ((performance.now() - began) / 1e3));
  }
  findings.add(`page writes, ${pattern}, 1 GiB`, median(rates) / 1e6, 'million/s', atLeast(20));
}

function benchPagemap(findings: Findings): void {
  const process = new Kernel({ version: '6.1' }).spawn();
  const start = mapAnonymous(process, GIB_PAGES);
  for (let page = start; page < start + GIB_PAGES; page++) process.store(page, 0, 1);
  const words = new Uint32Array(2 * 65_536);
  const rates: number[] = [];
  for (let pass = 0; pass < 9; pass++) {
    const began = performance.now();
    for (let page = start; page < start + GIB_PAGES; page += 65_536)
      process.readPagemapWords(page, 65_536, words);
    rates.push(GIB_PAGES / ((performance.now() - began) / 1e3));
  }
  findings.add('pagemap words, 1 GiB resident', median(rates) / 1e6, 'million/s', atLeast(100));
}

/** PAGEMAP_SCAN for soft-dirty pages over 1 TiB of which 1,000 pages, far apart, were written. */
function benchScan(findings: Findings): void {
  const process = new Kernel({ version: '6.12' }).spawn();
  const start = mapAnonymous(process, TIB_PAGES);
  process.clearRefs('4');
  const written = 1000;
  const step = Math.floor(TIB_PAGES / written);
  for (let index = 0; index < written; index++) process.store(start + index * step, 0, 1);
  const times: number[] = [];
  for (let pass = 0; pass < 21; pass++) {
    const began = performance.now();
    const result = process.scanPagemap({
      startPage: start,
      endPage: start + TIB_PAGES,
      flags: 0,
      maximumRegions: 4096,
      maximumPages: 0,
      categoryInverted: 0,
      categoryMask: SCAN_CATEGORY.softDirty | SCAN_CATEGORY.present,
      categoryAnyOfMask: 0,
      returnMask: SCAN_CATEGORY.softDirty,
    });
    times.push(performance.now() - began);
    if (typeof result === 'number' || result.regions.length !== written) {
      throw new Error(`PAGEMAP_SCAN found ${typeof result === 'number' ? result : result.regions.length}`);
    }
  }
  findings.add('PAGEMAP_SCAN, 1 TiB mapped, 1,000 dirty pages', median(times), 'ms', atMost(1));
}
