import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { WorkloadError } from '../../src/core/index.ts';
import { parseWorkload } from '../../src/workload/index.ts';

const FIXTURES = resolve(import.meta.dirname, '../../fixtures');

const GOOD = `version: 1
name: kv-store
seed: 7
processes:
  - name: server
    regions:
      heap: { size: 256MiB, resident: 192MiB, kind: anonymous, content: { kind: records } }
      log:  { size: 16MiB, kind: file-shared, content: { kind: text } }
    phases:
      - duration: 30s
        writes:
          - { region: heap, pattern: zipf, theta: 0.99, rate: 5000/s, bytes: 64 }
          - { region: log, pattern: sequential, rate: 200/s, bytes: 4096 }
        events:
          - { at: 5s, do: mremap, region: heap, size: 320MiB, move: true }
`;

function complaint(text: string): { message: string; hint: string | undefined; line: unknown } {
  try {
    parseWorkload(text, '/somewhere/bad.yaml');
  } catch (error) {
    if (!(error instanceof WorkloadError)) throw error;
    return { message: error.message, hint: error.hint, line: error.data['line'] };
  }
  throw new Error('was accepted');
}

describe('parseWorkload()', () => {
  it('reads the example of the specification', () => {
    const workload = parseWorkload(GOOD, 'kv.yaml');
    expect(workload).toMatchObject({
      file: 'kv.yaml',
      name: 'kv-store',
      seed: 7,
      kernel: { version: '6.1', softDirty: true, thp: 'madvise' },
    });
    expect(
      workload.regions.map(({ name, sizePages, residentPages }) => [name, sizePages, residentPages]),
    ).toEqual([
      ['heap', 65536, 49152],
      ['log', 4096, 0],
    ]);
    const phase = workload.processes[0]!.phases[0]!;
    expect(phase.durationNanoseconds).toBe(30e9);
    expect(phase.streams.map((stream) => [stream.region, stream.pattern.kind, stream.perSecond])).toEqual([
      ['heap', 'zipf', 5000],
      ['log', 'sequential', 200],
    ]);
    expect(phase.events).toEqual([
      {
        atNanoseconds: 5e9,
        line: 15,
        action: { do: 'mremap', region: 'heap', sizePages: 81920, move: true },
      },
    ]);
    expect(workload.styles.map((style) => style.bytes)).toEqual([64, 4096]);
  });

  it('reads what a program needs of the processor, and pages that are partly padding', () => {
    const text = GOOD.replace('- name: server', '- name: server\n    cpu: 40%').replace(
      '{ kind: records }',
      '{ kind: padded, compressible: 70% }',
    );
    const workload = parseWorkload(text, 'kv.yaml');
    expect(workload.processes[0]?.cpuShare).toBe(0.4);
    expect(workload.regions[0]?.content).toEqual({ kind: 'padded', compressible: 0.7 });
    expect(parseWorkload(GOOD, 'kv.yaml').processes[0]?.cpuShare).toBe(0);
  });

  it('writes the events of every out, in time order', () => {
    const text = GOOD.replace(
      '- { at: 5s, do: mremap',
      '- { at: 8s, every: 10s, do: madvise, advice: dontneed, region: log }\n          - { at: 5s, do: mremap',
    );
    const times = parseWorkload(text, 'x').processes[0]!.phases[0]!.events.map((e) => e.atNanoseconds / 1e9);
    expect(times).toEqual([5, 8, 18, 28]);
  });

  it('reads every fixture', () => {
    const files = readdirSync(FIXTURES).filter((name) => name.endsWith('.yaml'));
    expect(files.length).toBeGreaterThanOrEqual(6);
    for (const file of files) {
      const workload = parseWorkload(readFileSync(join(FIXTURES, file), 'utf8'), file);
      expect(`${workload.name}.yaml`).toBe(file);
    }
  });

  it.each<[string, string, string, string, string | undefined]>([
    [
      'a newer format',
      'version: 1',
      'version: 2',
      'bad.yaml:1: version: workload format 2 is unknown',
      'this ckpt reads format 1',
    ],
    [
      'a version that is no number',
      'version: 1',
      "version: '1'",
      "bad.yaml:1: version: must be a whole number, not '1'",
      undefined,
    ],
    ['an unknown field', 'seed: 7', 'sede: 7', 'bad.yaml:3: sede: unknown field', "did you mean 'seed'?"],
    ['a missing name', 'name: kv-store\n', '', 'bad.yaml:1: name: is missing', undefined],
    [
      'a size that is none',
      '256MiB',
      '256 apples',
      "bad.yaml:7: processes[0].regions.heap.size: '256 apples' is not a size",
      'write it like 4096, 64KiB or 1.5GiB',
    ],
    [
      'an empty region',
      'size: 16MiB',
      'size: 0',
      'bad.yaml:8: processes[0].regions.log.size: a region has at least one page',
      undefined,
    ],
    [
      'more resident than there is',
      '192MiB',
      '257MiB',
      'bad.yaml:7: processes[0].regions.heap.resident: more than the size of the region',
      'resident is a part of size',
    ],
    [
      'a kind that does not exist',
      'kind: anonymous',
      'kind: anonymus',
      "bad.yaml:7: processes[0].regions.heap.kind: 'anonymus' is not one of anonymous, file-private, file-shared, shared-anonymous, huge, heap",
      "did you mean 'anonymous'?",
    ],
    [
      'a mistyped field of a write',
      'theta',
      'tetha',
      'bad.yaml:12: processes[0].phases[0].writes[0].tetha: unknown field',
      "did you mean 'theta'?",
    ],
    [
      'a field of another pattern',
      'theta: 0.99',
      'stride: 64KiB',
      "bad.yaml:12: processes[0].phases[0].writes[0].stride: has no meaning for pattern 'zipf'",
      "it belongs to 'strided'",
    ],
    [
      'a rate without a period',
      '5000/s',
      '5000',
      "bad.yaml:12: processes[0].phases[0].writes[0].rate: '5000' is not a rate",
      'write it like 5000/s, 20k/s or 30/min',
    ],
    [
      'a rate of nothing',
      '5000/s',
      '0/s',
      "bad.yaml:12: processes[0].phases[0].writes[0].rate: '0/s' is out of range",
      'rates are above 0 and at most 1000M/s',
    ],
    [
      'a write larger than a page',
      'bytes: 4096',
      'bytes: 4097',
      'bad.yaml:13: processes[0].phases[0].writes[1].bytes: one write changes between 1 and 4096 bytes',
      undefined,
    ],
    [
      'a region that is not declared',
      'region: log',
      'region: logs',
      "bad.yaml:13: processes[0].phases[0].writes[1].region: there is no region 'logs'",
      "did you mean 'log'?",
    ],
    [
      'an event after the phase',
      'at: 5s',
      'at: 30s',
      'bad.yaml:15: processes[0].phases[0].events[0].at: is not inside the phase',
      'events happen before its end',
    ],
    [
      'an event that does not exist',
      'do: mremap',
      'do: remap',
      "bad.yaml:15: processes[0].phases[0].events[0].do: 'remap' is not one of mmap, munmap, mremap, mprotect, madvise, brk, fork, exit, swap-out, thp",
      "did you mean 'mremap'?",
    ],
    [
      'a field of another event',
      'move: true',
      'advice: free',
      'bad.yaml:15: processes[0].phases[0].events[0].advice: unknown field',
      'known here: at, every, do, region, size, move',
    ],
    [
      'a program that is not declared',
      'do: mremap, region: heap, size: 320MiB, move: true',
      'do: fork, program: worker',
      "bad.yaml:15: processes[0].phases[0].events[0].program: there is no program 'worker'",
      "declare it under 'programs'",
    ],
    [
      'a heap event on other memory',
      'do: mremap, region: heap, size: 320MiB, move: true',
      'do: brk, region: heap, size: 1MiB',
      "bad.yaml:15: processes[0].phases[0].events[0].region: region 'heap' is anonymous; this needs one of kind heap",
      undefined,
    ],
    [
      'a duration without a unit',
      'duration: 30s',
      'duration: 30',
      "bad.yaml:10: processes[0].phases[0].duration: '30' is not a duration",
      'write it like 250us, 500ms, 1.5s or 2m',
    ],
    [
      'text where a list belongs',
      'writes:\n',
      'writes: nothing\n        reads:\n',
      "bad.yaml:11: processes[0].phases[0].writes: must be a list, not 'nothing'",
      undefined,
    ],
    [
      'a field given twice',
      'seed: 7',
      'seed: 7\nseed: 8',
      'bad.yaml:4: not valid YAML: Map keys must be unique',
      undefined,
    ],
    [
      'text that is not YAML',
      'seed: 7',
      'seed: [7',
      'bad.yaml:4: not valid YAML: Flow sequence in block collection must be sufficiently indented and end with a ]',
      undefined,
    ],
    [
      'too much memory',
      '16MiB, kind',
      '1TiB, resident: 100GiB, kind',
      'bad.yaml:1: 101GiB are resident from the start; at most 64GiB can be',
      undefined,
    ],
    [
      'a name with a slash',
      'name: kv-store',
      'name: ../kv',
      "bad.yaml:2: name: '../kv' is not a name",
      'use letters, digits, dashes, dots and underscores, 63 at most',
    ],
  ])('refuses %s', (_what, from, to, message, hint) => {
    expect(GOOD).toContain(from);
    const found = complaint(GOOD.replace(from, to));
    expect(found.message).toBe(message);
    expect(found.hint).toBe(hint);
    expect(found.line).toBe(Number(/:(\d+):/.exec(message)![1]));
  });

  it('follows forks when it looks for regions', () => {
    const forks = `${GOOD.replace(
      'do: mremap, region: heap, size: 320MiB, move: true',
      'do: fork, program: worker',
    )}programs:
  worker:
    regions:
      own: { size: 1MiB, kind: anonymous }
    phases:
      - duration: 1s
        writes:
          - { region: heap, pattern: uniform, rate: 1/s, bytes: 1 }
          - { region: own, pattern: uniform, rate: 1/s, bytes: 1 }
`;
    expect(parseWorkload(forks, 'x').programs.get('worker')!.atEnd).toBe('exit');
    expect(complaint(forks.replace('region: own', 'region: owned')).message).toBe(
      "bad.yaml:24: processes[0].phases[0].writes[1].region: there is no region 'owned' when 'server' forks this program".replace(
        'processes[0]',
        'programs.worker',
      ),
    );
    const endless = forks.replace(
      '        writes:\n          - { region: heap, pattern: uniform',
      '        events:\n          - { at: 0s, do: fork, program: worker }\n        writes:\n          - { region: heap, pattern: uniform',
    );
    expect(complaint(endless).message).toMatch(/'worker' would fork itself without end$/);
  });

  it('refuses a file that no workload can be', () => {
    expect(complaint('x'.repeat(2 ** 20 + 1)).message).toBe(
      'bad.yaml: larger than 1 MiB, which no workload file is',
    );
    expect(complaint('').message).toBe('bad.yaml:1: is missing');
    expect(complaint('[]').message).toBe('bad.yaml:1: must be a mapping, not a list');
  });
});
