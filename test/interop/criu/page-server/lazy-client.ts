import { PAGE_SIZE } from '../../../../src/core/index.ts';
import { TestClient } from './test-client.ts';
import { COMMAND, decodeHeader, encodeHeader, headerBytesOf, type WireLayout } from './wire.ts';

export interface LazyAnswer {
  readonly pid: number;
  readonly startPage: number;
  readonly pageCount: number;
  readonly bytes: Buffer;
}

/** `criu lazy-pages --page-server`: asks for pages, and takes answers in the order of its questions. */
export class LazyClient {
  readonly stream: TestClient;
  readonly #layout: WireLayout;

  constructor(stream: TestClient, layout: WireLayout) {
    this.stream = stream;
    this.#layout = layout;
  }

  static async connect(port: number, layout: WireLayout): Promise<LazyClient> {
    return new LazyClient(await TestClient.connect(port), layout);
  }

  request(pid: number, startPage: number, pageCount: number): Buffer {
    return encodeHeader(this.#layout, {
      command: COMMAND.get,
      pageCount,
      address: BigInt(startPage) * BigInt(PAGE_SIZE),
      destination: BigInt(pid),
    });
  }

  async ask(pid: number, startPage: number, pageCount: number): Promise<void> {
    await this.stream.send(this.request(pid, startPage, pageCount));
  }

  /** The next answer. @throws Error if its header is not that of an answer */
  async answer(): Promise<LazyAnswer> {
    const header = decodeHeader(this.#layout, await this.stream.receive(headerBytesOf(this.#layout)));
    if (header.command !== COMMAND.addFlags || header.flags !== 4) {
      throw new Error(`the answer has command ${header.command} with flags ${header.flags}`);
    }
    const bytes = await this.stream.receive(header.pageCount * PAGE_SIZE);
    return {
      pid: Number(header.destination),
      startPage: Number(header.address / BigInt(PAGE_SIZE)),
      pageCount: header.pageCount,
      bytes,
    };
  }

  async get(pid: number, startPage: number, pageCount: number): Promise<LazyAnswer> {
    await this.ask(pid, startPage, pageCount);
    return this.answer();
  }

  /** Pages of a range, asked for again until all have come, as CRIU does. */
  async getAll(pid: number, startPage: number, pageCount: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (let done = 0; done < pageCount; ) {
      const answer = await this.get(pid, startPage + done, pageCount - done);
      if (answer.startPage !== startPage + done || answer.pid !== pid || answer.pageCount < 1) {
        throw new Error(
          `asked for page ${startPage + done} of ${pid}, got ${answer.startPage} of ${answer.pid}`,
        );
      }
      pieces.push(answer.bytes);
      done += answer.pageCount;
    }
    return Buffer.concat(pieces);
  }

  /** Says that all is done. @returns the status */
  async close(): Promise<number> {
    await this.stream.send(encodeHeader(this.#layout, { command: COMMAND.close }));
    const status = await this.stream.receiveInt32();
    this.stream.end();
    return status;
  }
}
