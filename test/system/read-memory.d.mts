export type Digests = Readonly<Record<string, string>>;
export function readMemory(pid: number): Digests;
export function readRestored(directory: string): {
  readonly digests: Digests;
  readonly empty: readonly string[];
};
