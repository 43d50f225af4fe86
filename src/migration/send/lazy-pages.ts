import { PageRangeList, PeerError } from '../../core/index.ts';
import type { Channel } from '../wire/channel.ts';
import type { MessageOf } from '../wire/messages.ts';
import type { PeerAnswers } from './peer-answers.ts';
import type { SourceProcess } from './source-process.ts';
import type { GonePages, TargetScan } from './target-scan.ts';

/** Pages that go between two looks whether something was asked for. */
const PART_PAGES = 16;

/** What sending the memory of a target that runs elsewhere already needs. */
export interface LazySource {
  readonly channel: Channel;
  readonly answers: PeerAnswers;
  readonly scan: TargetScan;
  /** Sends pages of a process, which then are no longer pending. */
  readonly send: (process: SourceProcess, pages: PageRangeList) => Promise<void>;
  /** Digest of the memory, when all of it has been sent. */
  readonly digest: () => string;
}

/** How post-copy went. */
export interface LazyEnd {
  readonly ready: MessageOf<'ready'>;
  readonly digest: string;
  readonly requestedPages: number;
  /** Pages that exist and could not be read; nobody has them there either. */
  readonly lost: readonly GonePages[];
}

/**
 * Sends what is pending of a target that stands still here and runs at the destination: first what that asks for, else
 * one part after the other.
 * @throws PeerError: what runs there has then stopped for good
 */
export async function sendLazily(source: LazySource): Promise<LazyEnd> {
  try {
    return await sendAll(source);
  } catch (error) {
    // Or the destination would wait for pages for ever.
    source.channel.abort(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
}

async function sendAll({ channel, answers, scan, send, digest }: LazySource): Promise<LazyEnd> {
  /** Never more than what is pending, however often it is asked for. */
  const asked = new Map<SourceProcess, PageRangeList>();
  let requestedPages = 0;
  let failure: unknown;
  const listen = async () => {
    for (;;) {
      const message = await answers.either('request-pages', 'ready');
      if (message.type === 'ready') return message;
      const { process, pages } = wanted(scan, message);
      if (pages.pageCount > 0) asked.set(process, (asked.get(process) ?? new PageRangeList()).union(pages));
    }
  };
  const answer = listen();
  answer.catch((error: unknown) => {
    failure = error;
  });
  for (;;) {
    if (failure !== undefined) throw failure;
    const [request] = asked;
    const next = request === undefined ? firstPending(scan) : pendingOf(...request);
    if (next === undefined) break;
    if (request !== undefined) {
      asked.delete(next.process);
      requestedPages += next.pages.pageCount;
    }
    if (next.pages.pageCount > 0) await send(next.process, next.pages);
  }
  const lost: GonePages[] = [];
  for (const process of scan.processes) {
    const pages = process.endLastRound();
    if (pages.pageCount > 0) lost.push({ pid: process.view.pid, pages });
  }
  const memoryDigest = digest();
  await channel.send({ type: 'prepared-digest', memoryDigest });
  return { ready: await answer, digest: memoryDigest, requestedPages, lost };
}

interface Part {
  readonly process: SourceProcess;
  readonly pages: PageRangeList;
}

function firstPending(scan: TargetScan): Part | undefined {
  const process = scan.processes.find(({ pending }) => pending.pageCount > 0);
  if (process === undefined) return undefined;
  const pages = new PageRangeList();
  for (const { startPage, endPage } of process.pending) {
    pages.append(startPage, Math.min(endPage, startPage + PART_PAGES - pages.pageCount));
    if (pages.pageCount >= PART_PAGES) break;
  }
  return { process, pages };
}

/** What is asked for and has not gone yet. @throws PeerError if there is no such process */
function wanted(scan: TargetScan, { pid, ranges }: MessageOf<'request-pages'>): Part {
  const process = scan.processes.find(({ view }) => view.pid === pid);
  if (process === undefined) {
    throw new PeerError(`the destination asks for pages of process ${pid}, which is none of the target's`);
  }
  return pendingOf(process, ranges);
}

/** What has not gone yet of some pages. */
function pendingOf(process: SourceProcess, pages: PageRangeList): Part {
  return { process, pages: process.pending.intersection(pages) };
}
