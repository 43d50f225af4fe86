import { formatPageAddress, PAGE_SIZE, PeerError, TargetError } from '../../../core/index.ts';
import type { LazyPages } from './lazy-pages.ts';
import type { PeerMessages } from './peer-messages.ts';
import {
  COMMANDS,
  describeCommand,
  type MessageHeader,
  PAGE_FLAGS,
  pagesOf,
  requestedProcess,
} from './protocol.ts';

/** What has been given in a session so far. */
export interface LazyProgress {
  requests: number;
  pages: number;
}

/**
 * Pages of an answer at most. CRIU asks for so many at most (criu/uffd.c), and asks again for the rest if it gets
 * fewer, so nobody can have a session occupied with one question for ever.
 */
const MAX_ANSWER_PAGES = 1024;

/** Pages behind an answer that are decoded meanwhile: what was asked for last is mostly followed by what is behind. */
const MAX_PAGES_AHEAD = 512;

/** An int32; all zeros say that all is well. */
const STATUS_BYTES = 4;

/**
 * Answers the requests of `criu lazy-pages --page-server` in their order, any page as often as it is asked for, until
 * the client closes the session. While one is being answered the next one is read, and its pages are decoded.
 * @param progress is counted up
 * @throws PeerError if the client says what it may not say, or is lost; TargetError if it asks for what the checkpoint
 *   does not have; IntegrityError if a page cannot be proved
 */
export async function answerLazily(
  peer: PeerMessages,
  pages: LazyPages,
  progress: LazyProgress,
): Promise<void> {
  let request = await peer.header();
  for (;;) {
    if (request === undefined) throw new PeerError('it closed the connection without ending the session');
    if (request.command === COMMANDS.close || request.command === COMMANDS.forceClose) break;
    const next = peer.header().then((following) => lookAhead(pages, following));
    // Met when its turn comes, which it does not if this answer fails.
    next.catch(() => undefined);
    progress.pages += await answer(peer, pages, request);
    progress.requests++;
    request = await next;
  }
  await peer.send(new Uint8Array(STATUS_BYTES));
}

async function answer(peer: PeerMessages, pages: LazyPages, request: MessageHeader): Promise<number> {
  requireGet(request);
  const pid = requestedProcess(request);
  const { startPage, endPage } = pagesOf(request);
  const pageCount = await pages.countFrom(pid, startPage, Math.min(endPage - startPage, MAX_ANSWER_PAGES));
  if (pageCount === 0) throw doesNotExist(pid, startPage);
  await peer.sendHeader({
    command: COMMANDS.addFlagged,
    flags: PAGE_FLAGS.present,
    pageCount: BigInt(pageCount),
    address: request.address,
    destination: request.destination,
  });
  const behind = startPage + pageCount;
  let missingBytes = pageCount * PAGE_SIZE;
  for await (const bytes of pages.read(pid, { startPage, endPage: behind })) {
    missingBytes -= bytes.length;
    if (missingBytes === 0) {
      const ahead = Math.min(2 * pageCount, MAX_PAGES_AHEAD);
      pages.prefetch(pid, { startPage: behind, endPage: behind + ahead });
    }
    await peer.send(bytes);
  }
  return pageCount;
}

/** Begins to decode what the next request asks for; what is wrong with it is said when its turn comes. */
function lookAhead(pages: LazyPages, request: MessageHeader | undefined): MessageHeader | undefined {
  if (request?.command === COMMANDS.get) {
    const startPage = Number(request.address / BigInt(PAGE_SIZE));
    const pageCount = request.pageCount < MAX_PAGES_AHEAD ? Number(request.pageCount) : MAX_PAGES_AHEAD;
    pages.prefetch(Number(request.destination), { startPage, endPage: startPage + pageCount });
  }
  return request;
}

function requireGet(header: MessageHeader): void {
  if (header.command === COMMANDS.get) return;
  throw new PeerError(`it sends ${describeCommand(header)}, but this server only gives pages`, {
    hint: "'criu dump' and 'criu pre-dump' send to 'ckpt page-server' without --lazy",
  });
}

/** No fault of the peer's: the images that it restores may be those of another checkpoint. */
function doesNotExist(pid: number, page: number): TargetError {
  return new TargetError(
    `it asks for page ${formatPageAddress(page)} of process ${pid}, which the checkpoint does not have`,
    { hint: 'restore from what ckpt export --format criu --lazy wrote of this checkpoint' },
  );
}
