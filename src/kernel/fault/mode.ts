/** What a page fault is for (FAULT_FLAG_*). */
export const FAULT = { read: 0, write: 1, unshare: 2 } as const;

export type FaultMode = (typeof FAULT)[keyof typeof FAULT];
