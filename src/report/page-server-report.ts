import { formatBytes, formatCount, formatDuration, PAGE_SIZE } from '../core/index.ts';
import type { LazyServerEvent, PageServerEvent, ReceivedSession, ServedSession } from '../interop/index.ts';
import { formatFields, printable } from './table.ts';

/** Which CRIU writes headers of each layout. */
const VERSIONS = { old: 'CRIU up to 4.1', new: 'CRIU 4.2 or later' } as const;

/** What a session with a page server left in the store. */
export function formatReceivedSession(session: ReceivedSession): string {
  const { checkpoint, parent, preDump, tasks, sharedMemory, pages, bytes } = session;
  const kind = preDump ? 'a pre-dump' : 'a dump';
  const inParent =
    pages.parent === 0 ? '' : `, ${formatCount(pages.parent)} left out as in checkpoint ${parent}`;
  return formatFields([
    ['checkpoint', `${checkpoint}, ${kind}${parent === null ? '' : ` on checkpoint ${parent}`}`],
    ['from', `${session.peer}, ${VERSIONS[session.layout]}`],
    ['tasks', tasks.length === 0 ? 'none' : tasks.join(', ')],
    ...(sharedMemory.length === 0
      ? []
      : [['shared memory', `${formatCount(sharedMemory.length)} objects`] as const]),
    [
      'received',
      `${formatBytes(pages.received * PAGE_SIZE)} in ${formatCount(pages.received)} pages${inParent}`,
    ],
    ['stored', `${formatBytes(bytes.stored)} in ${formatDuration(session.microseconds)}`],
    ['memory digest', session.memoryDigest],
    ...(preDump
      ? []
      : [['next', `ckpt adopt DIR --at ${checkpoint} joins the rest of the dump to it`] as const]),
  ]);
}

/** An event of a page server as a line of its log; undefined for what is reported otherwise. */
export function formatPageServerEvent(event: PageServerEvent): string | undefined {
  switch (event.kind) {
    case 'listening':
      return `listening on ${formatAddress(event.address)}:${event.port}`;
    case 'refused':
      return `refused ${event.peer}: ${printable(event.reason)}`;
    case 'begun':
      return event.layout === undefined ? undefined : `${event.peer} is ${VERSIONS[event.layout]}`;
    case 'receiving': {
      const what = event.preDump ? 'a pre-dump' : 'a dump';
      const onTop = event.parent === null ? '' : ` on top of checkpoint ${event.parent}`;
      return `${event.peer} sends ${what}${onTop}`;
    }
    case 'failed':
      return `${event.peer} failed, nothing of it is kept: ${printable(event.error.message)}`;
    case 'left':
      return `${event.peer} left without sending anything`;
    case 'note':
      return event.text;
    case 'received':
      return event.session.acknowledged
        ? undefined
        : `${event.session.peer} was lost before it could be told that checkpoint ${event.session.checkpoint} is there`;
  }
}

/** What a lazy restore has fetched. */
export function formatServedSession(session: ServedSession): string {
  const { checkpoint, peer, layout, pages, requests, microseconds } = session;
  return formatFields([
    // Who ended before it fetched anything has hardly restored it.
    [
      'checkpoint',
      pages > 0 ? `${checkpoint}, restored lazily` : `${checkpoint}, of which nothing was asked for`,
    ],
    ['by', layout === undefined ? peer : `${peer}, ${VERSIONS[layout]}`],
    [
      'fetched',
      `${formatBytes(pages * PAGE_SIZE)} in ${formatCount(pages)} pages, by ${formatCount(requests)} requests`,
    ],
    ['time', formatDuration(microseconds)],
  ]);
}

/** An event of a lazy page server as a line of its log; undefined for what is reported otherwise. */
export function formatLazyServerEvent(event: LazyServerEvent): string | undefined {
  switch (event.kind) {
    case 'listening':
      return `listening on ${formatAddress(event.address)}:${event.port} for lazy restores of checkpoint ${event.checkpoint}`;
    case 'refused':
      return `refused ${event.peer}: ${printable(event.reason)}`;
    case 'begun':
      return `${event.peer} begins to fetch pages`;
    case 'stuck':
      return `${event.peer} waits for a page that cannot be given, end what it restores: ${printable(event.error.message)}`;
    case 'failed': {
      const { peer, pages } = event.session;
      // What it restored runs on with zeros in the place of what it did not get.
      return `${peer} failed after ${formatCount(pages)} pages, end what it restored: ${printable(event.error.message)}`;
    }
    case 'left':
      return `${event.peer} left without asking for anything`;
    case 'served':
      return undefined;
  }
}

const formatAddress = (address: string) => (address.includes(':') ? `[${address}]` : address);
