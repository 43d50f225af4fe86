export type Digests = Readonly<Record<string, string>>;
/** [address, bytes] */
export type Stretch = readonly [number, number];
export function readMemory(pid: number, ignored?: readonly Stretch[]): Digests;
export function readRestored(
  directory: string,
  ignored?: readonly Stretch[],
): {
  readonly digests: Digests;
  readonly empty: readonly string[];
};
