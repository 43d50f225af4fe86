import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { PAGE_SIZE } from '../../src/core/index.ts';
import {
  COMMANDS,
  decodeHeader,
  HEADER_BYTES,
  PAGE_FLAGS,
} from '../../src/interop/criu/page-server/protocol.ts';

/** What a real CRIU has sent to a page server, in pieces; after each, the server has to answer so many bytes. */
export interface RecordedSession {
  readonly steps: readonly { readonly bytes: Uint8Array; readonly answerBytes: number }[];
  readonly totalBytes: number;
}

const ANSWER_BYTES: Readonly<Record<number, number>> = {
  [COMMANDS.open2]: 1,
  [COMMANDS.parent]: 4,
  [COMMANDS.close]: 4,
};

/** Reads the bytes of a client of the layout before 4.2. */
export function readSession(path: string): RecordedSession {
  const bytes = readFileSync(path);
  const steps: { bytes: Uint8Array; answerBytes: number }[] = [];
  let from = 0;
  for (let at = 0; at < bytes.length; ) {
    const header = decodeHeader(bytes.subarray(at, at + HEADER_BYTES.old), 'old');
    at += HEADER_BYTES.old;
    const hasPages = header.command === COMMANDS.addFlagged && (header.flags & PAGE_FLAGS.present) !== 0;
    if (hasPages) at += Number(header.pageCount) * PAGE_SIZE;
    const answerBytes = ANSWER_BYTES[header.command];
    if (answerBytes === undefined) continue;
    steps.push({ bytes: bytes.subarray(from, at), answerBytes });
    from = at;
  }
  return { steps, totalBytes: bytes.length };
}

/** Says it all to a page server. @returns seconds from the connection to the last answer @throws Error if it is a bad one */
export async function replay(session: RecordedSession, port: number): Promise<number> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  const started = performance.now();
  let answer = Buffer.alloc(0);
  for (const { bytes, answerBytes } of session.steps) {
    if (!socket.write(bytes)) await once(socket, 'drain');
    answer = Buffer.alloc(0);
    while (answer.length < answerBytes) answer = Buffer.concat([answer, (await once(socket, 'data'))[0]]);
  }
  const seconds = (performance.now() - started) / 1000;
  socket.end();
  if (answer.readInt32LE() !== 0) throw new Error(`the page server answers ${answer.readInt32LE()}`);
  await Promise.race([once(socket, 'close'), delay(2000)]);
  socket.destroy();
  return seconds;
}
