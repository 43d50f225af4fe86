import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** How long a test waits for an answer that should come at once. */
const PATIENCE_MILLISECONDS = 10_000;

/** The other end has closed the connection, or nothing came. */
export class Disconnected extends Error {}

/**
 * A blocking reader and writer on a socket, as CRIU is one. It takes from the socket only what is asked for, so that
 * a server feels the back-pressure of a client that does not read.
 */
export class TestClient {
  readonly socket: Socket;
  #ended = false;
  #failure: Error | undefined;
  #wake: () => void = () => {};

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('readable', () => this.#wake());
    socket.on('end', () => this.#finish(undefined));
    socket.on('close', () => this.#finish(undefined));
    socket.on('error', (error) => this.#finish(error));
  }

  /** Whether the server has closed the connection, or it is lost. */
  get isOver(): boolean {
    return this.#ended;
  }

  static async connect(port: number): Promise<TestClient> {
    const socket = connect({ host: '127.0.0.1', port });
    await once(socket, 'connect');
    return new TestClient(socket);
  }

  /** Gives bytes to the socket and waits until it has passed them on. @throws Disconnected */
  async send(...pieces: readonly Uint8Array[]): Promise<void> {
    for (const piece of pieces) {
      await new Promise<void>((resolve, reject) => {
        this.socket.write(piece, (error) => {
          if (error === null || error === undefined) resolve();
          else reject(new Disconnected(error.message));
        });
      });
    }
  }

  /** Exactly so many bytes. @throws Disconnected if the connection ends first, Error if nothing comes. */
  async receive(bytes: number): Promise<Buffer> {
    if (bytes === 0) return Buffer.alloc(0);
    const deadline = Date.now() + PATIENCE_MILLISECONDS;
    for (;;) {
      const chunk: unknown = this.socket.read(bytes);
      // At its end a stream gives what is left, even if that is less.
      if (Buffer.isBuffer(chunk) && chunk.length === bytes) return chunk;
      if (this.#ended) throw new Disconnected(this.#failure?.message ?? 'the server closed the connection');
      if (Date.now() > deadline) throw new Error(`the server did not send ${bytes} bytes`);
      await this.#somethingHappens(deadline - Date.now());
    }
  }

  async receiveInt32(): Promise<number> {
    return (await this.receive(4)).readInt32LE(0);
  }

  /** Everything until the server closes the connection. @throws Error if it does not. */
  async receiveRest(): Promise<Buffer> {
    const pieces: Buffer[] = [];
    const deadline = Date.now() + PATIENCE_MILLISECONDS;
    while (!this.#ended) {
      const chunk: unknown = this.socket.read();
      if (Buffer.isBuffer(chunk)) pieces.push(chunk);
      else if (Date.now() > deadline) throw new Error('the server does not close the connection');
      else await this.#somethingHappens(deadline - Date.now());
    }
    return Buffer.concat(pieces);
  }

  /** Sends FIN, as a client does that is done. */
  end(): void {
    this.socket.end();
  }

  /** Is gone from one moment to the next. */
  vanish(): void {
    this.socket.resetAndDestroy();
  }

  async #somethingHappens(milliseconds: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #finish(failure: Error | undefined): void {
    this.#ended = true;
    this.#failure ??= failure;
    this.#wake();
  }
}
