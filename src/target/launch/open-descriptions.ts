import { PAGE_SIZE } from '../../core/index.ts';
import { openInside } from '../rewrite/state-process.ts';
import { words } from '../rewrite/words.ts';
import type { FileLock } from './descriptor-details.ts';
import { FIRST_STREAM } from './launcher.ts';
import type { DescriptionRecipe, PipePlan, Placement, ProcessDescriptors } from './plan-types.ts';
import type { RemoteThread } from './remote-thread.ts';

const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const READ_WRITE = 2;
const ACCESS_MODE = 3;
const F_DUPFD_CLOEXEC = 1030;
const F_SETFL = 4;
const F_SETPIPE_SZ = 1031;
const F_SETLK = 6;
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const SEEK_SET = 0;
const EFD_SEMAPHORE = 1;
const LAST_DESCRIPTOR = 0xffff_ffff;
const EPOLL_CTL_ADD = 1;
const NANOSECONDS = 1_000_000_000n;
const TFD_IOC_SET_TICKS = 0x40085400;
const PROT_READ_WRITE = 3;
/** MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE. */
const SHARED_MEMORY = 0x1 | 0x20 | 0x4000;
/** Succeeds on terminals only. */
const TCGETS = 0x5401;
const SIGNAL_SET_BYTES = 8;

/** The numbers at which descriptions wait in every process until they are placed: `first` to `first + count`. */
export interface DescriptorPool {
  readonly first: number;
  readonly count: number;
}

/** A run of numbers that no process wants for itself, beyond the launcher's own. */
export function choosePool(processes: Iterable<ProcessDescriptors>, count: number): DescriptorPool {
  const wanted = [...processes].flatMap(({ placements }) => placements.map(({ descriptor }) => descriptor));
  let first = FIRST_STREAM + 3;
  for (const descriptor of wanted.sort((left, right) => left - right)) {
    // Three more are open while a description is made.
    if (descriptor >= first + count + 3) break;
    first = Math.max(first, descriptor + 1);
  }
  return { first, count };
}

/**
 * Makes all descriptions in the first process, before it forks, at the numbers of the pool.
 * @throws SystemCallError if one cannot be made
 */
export function openDescriptions(
  thread: RemoteThread,
  pool: DescriptorPool,
  recipes: readonly DescriptionRecipe[],
  pipes: readonly PipePlan[],
): void {
  const maker = new DescriptionMaker(thread, pool, pipes);
  recipes.forEach((recipe, index) => {
    maker.make(recipe, index);
  });
  maker.finish();
}

class DescriptionMaker {
  readonly #thread: RemoteThread;
  readonly #pool: DescriptorPool;
  readonly #pipes: readonly PipePlan[];
  /** Of each pipe made so far: its two ends, where they have not been given a place yet. */
  readonly #ends = new Map<number, { read: number; write: number; free: Set<number> }>();

  constructor(thread: RemoteThread, pool: DescriptorPool, pipes: readonly PipePlan[]) {
    this.#thread = thread;
    this.#pool = pool;
    this.#pipes = pipes;
  }

  make(recipe: DescriptionRecipe, index: number): void {
    const thread = this.#thread;
    switch (recipe.kind) {
      case 'open': {
        const descriptor = openInside(thread, recipe.path, recipe.flags);
        if (recipe.position !== 0n) thread.call('lseek', descriptor, recipe.position, SEEK_SET);
        this.#keep(descriptor, index);
        return;
      }
      case 'stream':
        this.#makeStream(recipe, index);
        return;
      case 'pipe':
        this.#makePipeEnd(recipe.pipe, recipe.flags, index);
        return;
      case 'eventfd':
        this.#makeEventCounter(recipe, index);
        return;
      case 'epoll':
        this.#keep(Number(thread.call('epoll_create1', O_CLOEXEC)), index);
        return;
      case 'signalfd': {
        const mask = thread.writeScratch(words(recipe.mask));
        const flags = O_CLOEXEC | (recipe.flags & O_NONBLOCK);
        this.#keep(Number(thread.call('signalfd4', -1, mask, SIGNAL_SET_BYTES, flags)), index);
        return;
      }
      case 'timerfd': {
        const flags = O_CLOEXEC | (recipe.flags & O_NONBLOCK);
        this.#keep(Number(thread.call('timerfd_create', recipe.clock, flags)), index);
        return;
      }
      case 'memory':
        this.#makeMemory(recipe.bytes, index);
    }
  }

  /** Puts back what lay unread in the pipes, and gives up what was only needed to make the descriptions. */
  finish(): void {
    for (const [pipe, { write, read }] of this.#ends) {
      this.#fill(write, this.#pipes[pipe]!);
      this.#thread.call('close', read);
      this.#thread.call('close', write);
    }
  }

  /** Moves a fresh descriptor to its place in the pool. */
  #keep(descriptor: number, index: number): void {
    if (descriptor === this.#pool.first + index) return;
    this.#copy(descriptor, index);
    this.#thread.call('close', descriptor);
  }

  #copy(descriptor: number, index: number): void {
    this.#thread.call('dup3', descriptor, this.#pool.first + index, O_CLOEXEC);
  }

  /** Of a terminal Node may have made the description wait for nothing, so the new process gets one of its own. */
  #makeStream({ descriptor, flags }: DescriptionRecipe & { kind: 'stream' }, index: number): void {
    const thread = this.#thread;
    const ours = FIRST_STREAM + descriptor;
    const isTerminal = thread.tryCall('ioctl', ours, TCGETS, thread.writeScratch(new Uint8Array(64))) === 0n;
    if (isTerminal) this.#keep(openInside(thread, `/proc/self/fd/${ours}`, flags), index);
    else this.#copy(ours, index);
  }

  #makePipeEnd(pipe: number, flags: number, index: number): void {
    const ends = this.#ends.get(pipe) ?? this.#makePipe(pipe);
    const mode = flags & ACCESS_MODE;
    const wanted = mode === 0 ? ends.read : mode === 1 ? ends.write : undefined;
    if (wanted !== undefined && ends.free.delete(wanted)) {
      this.#copy(wanted, index);
      this.#thread.call('fcntl', this.#pool.first + index, F_SETFL, flags);
      return;
    }
    // A further description of the same end is opened by its name.
    this.#keep(openInside(this.#thread, `/proc/self/fd/${ends.read}`, flags), index);
  }

  /** The ends that are made are kept above the pool until all is done. */
  #makePipe(pipe: number): { read: number; write: number; free: Set<number> } {
    const thread = this.#thread;
    const address = thread.writeScratch(new Uint8Array(8));
    thread.call('pipe2', address, O_CLOEXEC | O_NONBLOCK);
    const made = new DataView(thread.readScratch(0, 8).buffer);
    const above = this.#pool.first + this.#pool.count;
    const [read, write] = [made.getInt32(0, true), made.getInt32(4, true)].map((descriptor) => {
      const moved = Number(thread.call('fcntl', descriptor, F_DUPFD_CLOEXEC, above));
      thread.call('close', descriptor);
      return moved;
    }) as [number, number];
    const capacity = this.#pipes[pipe]?.capacityBytes ?? null;
    if (capacity !== null) thread.call('fcntl', write, F_SETPIPE_SZ, capacity);
    const ends = { read, write, free: new Set([read, write]) };
    this.#ends.set(pipe, ends);
    return ends;
  }

  /** Through a description of its own, so that nobody's flags decide whether it may wait. */
  #fill(end: number, { unread }: PipePlan): void {
    if (unread.length === 0) return;
    const thread = this.#thread;
    const writer = openInside(thread, `/proc/self/fd/${end}`, 1 | O_NONBLOCK);
    for (let done = 0; done < unread.length; ) {
      const part = unread.subarray(done, done + thread.scratchBytes);
      done += Number(thread.call('write', writer, thread.writeScratch(part), part.length));
    }
    thread.call('close', writer);
  }

  #makeEventCounter(recipe: DescriptionRecipe & { kind: 'eventfd' }, index: number): void {
    const flags = O_CLOEXEC | (recipe.flags & O_NONBLOCK) | (recipe.semaphore ? EFD_SEMAPHORE : 0);
    const descriptor = Number(this.#thread.call('eventfd2', 0, flags));
    if (recipe.count > 0n) {
      this.#thread.call('write', descriptor, this.#thread.writeScratch(words(recipe.count)), 8);
    }
    this.#keep(descriptor, index);
  }

  /**
   * Memory that processes share has no name; /proc/self/map_files opens what is behind a mapping, and what is opened so
   * can be mapped by all, under the same name as before.
   */
  #makeMemory(bytes: number, index: number): void {
    const thread = this.#thread;
    const start = thread.call('mmap', 0, bytes, PROT_READ_WRITE, SHARED_MEMORY, -1, 0);
    const end = start + BigInt(Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE);
    const name = `/proc/self/map_files/${start.toString(16)}-${end.toString(16)}`;
    this.#keep(openInside(thread, name, READ_WRITE), index);
    thread.call('munmap', start, bytes);
  }
}

/** Gives a process its descriptors out of the pool. The pool stays open; nothing else does. */
export function placeDescriptors(
  thread: RemoteThread,
  pool: DescriptorPool,
  placements: readonly Placement[],
): void {
  if (pool.first > 0) thread.call('close_range', 0, pool.first - 1, 0);
  thread.call('close_range', pool.first + pool.count, LAST_DESCRIPTOR, 0);
  for (const { descriptor, closeOnExec, description } of placements) {
    thread.call('dup3', pool.first + description, descriptor, closeOnExec ? O_CLOEXEC : 0);
  }
}

/** Closes the pool, once nothing of it is needed any more. */
export function closePool(thread: RemoteThread, pool: DescriptorPool): void {
  if (pool.count > 0) thread.call('close_range', pool.first, pool.first + pool.count - 1, 0);
}

/** Has epoll descriptors watch what they watched, timers run, and takes locks. */
export function setUpDescriptors(thread: RemoteThread, { epolls, timers, locks }: ProcessDescriptors): void {
  for (const { descriptor, watches } of epolls) {
    for (const watch of watches) {
      // struct epoll_event is packed on x86-64: events (u32), data (u64)
      const event = new DataView(new ArrayBuffer(12));
      event.setUint32(0, watch.events, true);
      event.setBigUint64(4, watch.data, true);
      const address = thread.writeScratch(new Uint8Array(event.buffer));
      thread.call('epoll_ctl', descriptor, EPOLL_CTL_ADD, watch.descriptor, address);
    }
  }
  for (const { descriptor, remainingNanoseconds, intervalNanoseconds, ticks } of timers) {
    // A timer that has run out unread is not started again before it is read: it has to run out at once.
    const value = remainingNanoseconds === 0n && ticks > 0n ? 1n : remainingNanoseconds;
    const setting = words(...timespec(intervalNanoseconds), ...timespec(value));
    thread.call('timerfd_settime', descriptor, 0, thread.writeScratch(setting), 0);
    if (ticks > 1n) thread.tryCall('ioctl', descriptor, TFD_IOC_SET_TICKS, thread.writeScratch(words(ticks)));
  }
  for (const { descriptor, lock } of locks) takeLock(thread, descriptor, lock);
}

function takeLock(thread: RemoteThread, descriptor: number, lock: FileLock): void {
  const { kind, exclusive, startByte, lengthBytes } = lock;
  if (kind === 'whole') {
    thread.call('flock', descriptor, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB);
    return;
  }
  // struct flock: type and whence (i16 each, padded), start, length, pid
  const request = words(exclusive ? F_WRLCK : F_RDLCK, startByte, lengthBytes, 0);
  const command = kind === 'process' ? F_SETLK : F_OFD_SETLK;
  thread.call('fcntl', descriptor, command, thread.writeScratch(request));
}

function timespec(nanoseconds: bigint): [bigint, bigint] {
  return [nanoseconds / NANOSECONDS, nanoseconds % NANOSECONDS];
}
