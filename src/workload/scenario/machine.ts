import { ACCESS_SIGNAL, errnoName, Kernel, type KernelVersion, type Process } from '../../kernel/index.ts';
import { Subject } from './subject.ts';

/**
 * The machine of a scenario: a controller that reads /proc and sets knobs, its subjects that run the operations, and
 * the text that comes out. The subjects are forked from the controller and from each other, so what they inherit
 * (heap, open files, their place in the chain of reverse mappings) is what it was in the recordings.
 */
export class ScenarioMachine {
  readonly kernel: Kernel;
  readonly #controller: Subject;
  readonly #subjects = new Map<string, Subject>();
  readonly #lines: string[] = [];
  #storeFaults = 0;

  constructor(version: KernelVersion) {
    this.kernel = new Kernel({ version });
    this.kernel.setThp('never');
    this.kernel.setSharedThp('never');
    this.kernel.setThpZeroPage(true);
    this.kernel.listener = { storeFault: () => this.#countStoreFault() };
    this.#controller = Subject.start(this.kernel);
    this.fork(this.#controller, 'p0');
  }

  subject(name: string): Subject {
    const subject = this.#subjects.get(name);
    if (subject === undefined) throw new Error(`no process ${name}: the parser has let it pass`);
    return subject;
  }

  subjects(): Iterable<Subject> {
    return this.#subjects.values();
  }

  fork(parent: Subject, name: string): void {
    this.#subjects.set(name, parent.fork(name));
  }

  /**
   * The subject becomes a zombie. Its children die with it (PR_SET_PDEATHSIG) and are reaped by init, as are those
   * that were zombies before; it is itself left to a parent that never waits.
   */
  exit(subject: Subject): void {
    if (subject.process.state === 'running') subject.exit();
    for (const child of this.#subjects.values()) {
      if (child.parent !== subject || child.reaped) continue;
      this.exit(child);
      child.reaped = true;
      this.kernel.reap(child.process.pid);
    }
  }

  #countStoreFault(): void {
    if (++this.#storeFaults > STORE_FAULT_LIMIT) throw new Hopeless('would use up all memory', MEMORY_HINT);
  }

  print(line: string): void {
    this.#lines.push(line);
  }

  /** Prints what a call returned. */
  result(value: number): void {
    this.print(formatResult(value));
  }

  text(): string {
    return this.#lines.map((line) => `${line}\n`).join('');
  }
}

const BLOCKED_HINT = 'the page is registered with a userfaultfd, and nobody serves its faults';

/** The recording machines had 1 GiB of memory, about half of it free; each store fault may take a page of it. */
const STORE_FAULT_LIMIT = 2 ** 17;
const MEMORY_HINT = `no more than ${STORE_FAULT_LIMIT} pages may be stored to: the recorded machines had no more memory`;

/** What the recordings print for a signal, which the kernel reports as a number beyond those of errors. */
const SIGNALS = new Map<number, string>([
  [ACCESS_SIGNAL.segmentation, 'SEGV'],
  [ACCESS_SIGNAL.bus, 'BUS'],
]);

/** A real machine would not come to the end of this line. */
export class Hopeless extends Error {
  readonly hint: string;

  constructor(message: string, hint: string) {
    super(message);
    this.hint = hint;
  }
}

/** `= N`, `= -ENAME`, `= -SEGV`. */
export function formatResult(value: number): string {
  if (value >= 0) return `= ${value}`;
  if (value === ACCESS_SIGNAL.blocked) throw new Hopeless('would wait for ever', BLOCKED_HINT);
  return `= -${SIGNALS.get(value) ?? errnoName(value)}`;
}

/** The process behind a subject, for operations of the controller. */
export function processOf(machine: ScenarioMachine, subject: Subject): Process | undefined {
  return subject.reaped ? undefined : machine.kernel.process(subject.process.pid);
}
