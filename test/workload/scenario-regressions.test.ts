import { expect, it } from 'vitest';
import { runScenario } from '../../src/workload/index.ts';

it.each(['6.1', '6.12', '6.18', '7.2'] as const)(
  'moving the middle of a mapping with MREMAP_DONTUNMAP comes to an end on %s',
  (version) => {
    const text = 'mmap 0 8 rw anon private\nwrite 0 8\nmremap 2 4 4 dontunmap to=100\nsnap\n';
    const output = runScenario(text, { name: 'middle.sd', version });
    expect(output).toContain('= 100\n');
    expect(output).toMatch(/^p0 vma 0-7 rw-p sd anon$/m);
    expect(output).toMatch(/^p0 vma 100-103 rw-p sd anon$/m);
  },
);
