/** Microseconds of a clock that never goes back; its zero is arbitrary. */
export type MonotonicClock = () => number;

/** The machine's monotonic clock, in microseconds. */
export const machineClock: MonotonicClock = () => performance.now() * 1000;
