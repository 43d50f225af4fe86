import { PAGE_SIZE, PeerError } from '../../../core/index.ts';
import type { Manifest } from '../../../image/index.ts';
import { PageBatch } from './page-batch.ts';
import type { PeerMessages } from './peer-messages.ts';
import {
  COMMANDS,
  describeCommand,
  describeObject,
  type HeaderLayout,
  type MessageHeader,
  objectOf,
  PAGE_FLAGS,
  pagesOf,
} from './protocol.ts';
import { KNOWN_FLAGS, ReceivedCheckpoint, type ReceivingStore } from './received-checkpoint.ts';
import type { ReceivedObject } from './received-object.ts';

/** What a session that ended well left in the store. */
export interface ReceivedSession {
  readonly peer: string;
  readonly layout: HeaderLayout;
  readonly checkpoint: number;
  /** The checkpoint that it continues. */
  readonly parent: number | null;
  readonly preDump: boolean;
  readonly tasks: readonly number[];
  readonly sharedMemory: readonly string[];
  readonly pages: {
    /** That came with their content. */
    readonly received: number;
    /** Left out because the parent has them. */
    readonly parent: number;
    /** Whose content the store did not have. */
    readonly written: number;
  };
  readonly bytes: { readonly received: number; readonly stored: number };
  readonly microseconds: number;
  readonly memoryDigest: string;
  /** Whether the other end has been told that all is well. It has not if it was lost just then. */
  readonly acknowledged: boolean;
}

/** What happens in a session, for the log. */
export interface SessionEvents {
  /** Called at the first message. What it throws ends the session. */
  readonly onBegun: (layout: HeaderLayout | undefined) => void;
  /** Called when it is known what is received, and on top of what. */
  readonly onCheckpoint: (preDump: boolean, parent: number | null) => void;
}

/** How long the other end may take to close the connection when all has been said. */
const FAREWELL_MICROSECONDS = 10_000_000;

/** The status of a session that failed: all numbers but 0 have CRIU give up, with the target alive. */
const FAILED = -1;

/**
 * Receives the pages of one `criu dump --page-server` or `criu pre-dump --page-server` (criu/page-xfer.c). When
 * something goes wrong that is no fault of the protocol the rest is read and dropped, so that the other end is told by
 * the closing status, in order: CRIU then resumes what it has stopped.
 */
export class ReceivingSession {
  readonly #messages: PeerMessages;
  readonly #store: ReceivingStore;
  readonly #events: SessionEvents;
  readonly #signal: AbortSignal;
  readonly #batch = new PageBatch();
  #checkpoint: ReceivedCheckpoint | undefined;
  #current: ReceivedObject | undefined;
  #failure: { readonly cause: unknown } | undefined;
  #isOver = false;

  constructor(messages: PeerMessages, store: ReceivingStore, events: SessionEvents, signal: AbortSignal) {
    this.#messages = messages;
    this.#store = store;
    this.#events = events;
    this.#signal = signal;
  }

  /** Whether all has been received that will be, and is being written: it is then better to let it end. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * Receives everything.
   * @returns undefined if the other end had nothing to send
   * @throws what made it fail; nothing of it is in the store then, and the other end does not believe otherwise
   */
  async run(): Promise<ReceivedSession | undefined> {
    try {
      const first = await this.#messages.header();
      if (first === undefined) return undefined;
      this.#events.onBegun(this.#messages.layout);
      let header: MessageHeader | undefined = first;
      while (header !== undefined && !isClosing(header)) {
        await this.#handle(header);
        header = await this.#messages.header();
      }
      if (header === undefined) {
        throw new PeerError('it closed the connection without ending the session', this.#adviceToChild());
      }
      return await this.#close();
    } catch (error) {
      await this.#checkpoint?.abort();
      this.#checkpoint = undefined;
      // What went wrong first is the reason, if it was found while the rest was being dropped.
      throw this.#failure === undefined ? error : this.#failure.cause;
    }
  }

  async #handle(header: MessageHeader): Promise<void> {
    switch (header.command) {
      case COMMANDS.open:
      case COMMANDS.open2:
      case COMMANDS.parent:
        return this.#open(header);
      case COMMANDS.add:
        return this.#add(header, PAGE_FLAGS.present);
      case COMMANDS.hole:
        return this.#add(header, PAGE_FLAGS.parent);
      case COMMANDS.addFlagged:
        return this.#add(header, header.flags);
      case COMMANDS.get:
        throw new PeerError('it asks for pages, which this server receives', {
          hint: "'ckpt page-server --lazy' gives pages to criu lazy-pages",
        });
      default:
        throw new PeerError(`it says what is not known here: ${describeCommand(header)}`);
    }
  }

  /** Begins the pages of an object, or tells whether the parent has any. */
  async #open(header: MessageHeader): Promise<void> {
    const object = objectOf(header);
    const isQuestion = header.command === COMMANDS.parent;
    await this.#flush();
    let hasParent = false;
    await this.#attempt(async () => {
      // Only a pre-dump asks before it sends: it does so while the target stands still (criu/mem.c).
      this.#checkpoint ??= await this.#begin(isQuestion);
      if (!isQuestion) this.#current = this.#checkpoint.open(object);
      hasParent = this.#checkpoint.hasParent(object);
    });
    if (isQuestion) await this.#messages.send(int32(hasParent ? 1 : 0));
    else if (header.command === COMMANDS.open2) await this.#messages.send(Uint8Array.of(hasParent ? 1 : 0));
  }

  async #begin(preDump: boolean): Promise<ReceivedCheckpoint> {
    const checkpoint = await ReceivedCheckpoint.begin(this.#store, preDump, this.#signal);
    this.#events.onCheckpoint(preDump, checkpoint.parent);
    return checkpoint;
  }

  /** Takes pages, which follow if they are present. */
  async #add(header: MessageHeader, flags: number): Promise<void> {
    const { startPage, endPage } = pagesOf(header);
    const hasContent = (flags & PAGE_FLAGS.present) !== 0;
    // What follows pages of later CRIUs is not known: nothing more can be read.
    if ((flags & ~KNOWN_FLAGS) !== 0) {
      throw new PeerError(`it sends pages with flags that are not known here: ${flags}`);
    }
    await this.#attempt(() => this.#note(startPage, endPage, flags));
    if (!hasContent) return;
    const { stream } = this.#messages;
    const object = this.#current;
    if (object === undefined || this.#failure !== undefined) {
      await stream.skip((endPage - startPage) * PAGE_SIZE);
      return;
    }
    await this.#batch.read(
      startPage,
      endPage,
      (into) => stream.readInto(into),
      (pages, fill) => this.#take(object, pages, fill),
    );
  }

  async #note(startPage: number, endPage: number, flags: number): Promise<void> {
    const object = this.#current;
    if (object === undefined || this.#checkpoint === undefined) {
      throw new PeerError('it sends pages before it says of what');
    }
    const isHole = (flags & PAGE_FLAGS.parent) !== 0;
    const isPresent = (flags & PAGE_FLAGS.present) !== 0;
    const name = describeObject(object.object);
    await this.#checkpoint.prepared(object);
    if (isPresent && isHole) throw new PeerError(`it sends pages of ${name} and says that they are left out`);
    if (!isPresent && !isHole) {
      throw new PeerError(`it keeps pages of ${name} to itself, to be fetched later`, {
        hint: 'a page server is sent all pages: dump without --lazy-pages',
      });
    }
    if (isPresent) this.#checkpoint.addPresent(object, startPage, endPage, flags);
    else this.#checkpoint.addHole(object, startPage, endPage, flags);
  }

  async #take(
    object: ReceivedObject,
    pages: Parameters<ReturnType<ReceivedCheckpoint['taker']>>[0],
    fill: (into: Uint8Array) => Promise<void>,
  ): Promise<void> {
    const checkpoint = this.#checkpoint;
    if (this.#failure !== undefined || checkpoint === undefined) {
      await fill(new Uint8Array(pages.pageCount * PAGE_SIZE));
      return;
    }
    await this.#attempt(() => checkpoint.taker(object)(pages, fill));
  }

  async #flush(): Promise<void> {
    const object = this.#current;
    if (object !== undefined) await this.#batch.flush((pages, fill) => this.#take(object, pages, fill));
  }

  /** Does what may fail without the other end being at a loss about where in the stream we are. */
  async #attempt(action: () => Promise<void>): Promise<void> {
    if (this.#failure !== undefined) return;
    try {
      await action();
    } catch (cause) {
      this.#failure = { cause };
    }
  }

  async #close(): Promise<ReceivedSession | undefined> {
    await this.#flush();
    this.#isOver = true;
    let received: ReceivedSession | undefined;
    await this.#attempt(async () => {
      this.#signal.throwIfAborted();
      received = await this.#commit();
    });
    if (this.#failure === undefined) return this.#sayGood(received);
    await this.#checkpoint?.abort();
    this.#checkpoint = undefined;
    await this.#messages.send(int32(FAILED));
    await this.#messages.stream.finish(FAREWELL_MICROSECONDS);
    throw this.#failure.cause;
  }

  async #commit(): Promise<ReceivedSession | undefined> {
    const checkpoint = this.#checkpoint;
    if (checkpoint === undefined) return undefined;
    if (checkpoint.objects.length === 0) {
      throw new PeerError('it has sent no pages of anything', this.#adviceToChild());
    }
    const manifest = await checkpoint.commit();
    this.#checkpoint = undefined;
    return this.#describe(checkpoint, manifest);
  }

  /** CRIU gives up when it hears of a parent that it does not have itself (criu/mem.c, detect_pid_reuse). */
  #adviceToChild(): { readonly hint?: string } {
    const { parent = null, objects = [] } = this.#checkpoint ?? {};
    if (parent === null || objects.some(({ isEmpty }) => !isEmpty)) return {};
    return {
      hint: `it was told to build on checkpoint ${parent}, for which criu needs --prev-images-dir; without --chain every session stands alone`,
    };
  }

  async #sayGood(received: ReceivedSession | undefined): Promise<ReceivedSession | undefined> {
    const isTold = await this.#messages.send(int32(0)).then(
      () => true,
      () => false,
    );
    await this.#messages.stream.finish(FAREWELL_MICROSECONDS);
    return received === undefined ? undefined : { ...received, acknowledged: isTold };
  }

  #describe({ objects, parent }: ReceivedCheckpoint, manifest: Manifest): ReceivedSession {
    const sum = (count: (object: ReceivedObject) => number) =>
      objects.reduce((total, object) => total + count(object), 0);
    return {
      peer: this.#messages.stream.peer,
      layout: this.#messages.layout ?? 'old',
      checkpoint: manifest.number,
      parent,
      preDump: manifest.preDump,
      tasks: objects.flatMap(({ object }) => (object.kind === 'task' ? [object.pid] : [])),
      sharedMemory: objects.flatMap(({ object }) => (object.kind === 'shmem' ? [object.id] : [])),
      pages: {
        received: sum(({ presentPages }) => presentPages),
        parent: sum(({ parentPages }) => parentPages),
        written: manifest.pages.written,
      },
      bytes: { received: this.#messages.stream.receivedBytes, stored: manifest.bytes.stored },
      microseconds: manifest.microseconds.total,
      memoryDigest: manifest.memoryDigest,
      acknowledged: false,
    };
  }
}

function isClosing({ command }: MessageHeader): boolean {
  return command === COMMANDS.close || command === COMMANDS.forceClose;
}

function int32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  return bytes;
}
