/** A small workload with something of everything: patterns, kinds, mapping changes, fork, swap. */
export const SMALL_WORKLOAD = `
version: 1
name: small
seed: 11
processes:
  - name: server
    regions:
      heap: { size: 2MiB, resident: 1MiB, kind: anonymous, content: { kind: records } }
      log:  { size: 1MiB, kind: file-shared, content: { kind: text } }
      pool: { size: 512KiB, resident: 256KiB, kind: shared-anonymous, content: { kind: random } }
    phases:
      - duration: 40ms
        writes:
          - { region: heap, pattern: zipf, theta: 0.99, rate: 8000/s, bytes: 64 }
          - { region: pool, pattern: uniform, rate: 1000/s, bytes: 16 }
          - { region: log, pattern: append, rate: 500/s, bytes: 256 }
        events:
          - { at: 10ms, do: mremap, region: heap, size: 3MiB, move: true }
          - { at: 20ms, do: swap-out, region: heap }
          - { at: 30ms, do: fork, program: worker }
      - duration: 30ms
        writes:
          - { region: heap, pattern: hot-cold, hot: 10%, probability: 90%, rate: 6000/s, bytes: 32 }
programs:
  worker:
    phases:
      - duration: 25ms
        writes:
          - { region: heap, pattern: sequential, rate: 4000/s, bytes: 128 }
    atEnd: exit
`;
