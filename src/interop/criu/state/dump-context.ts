import type { PipeContent } from '../../../target/index.ts';
import type { MessageFields } from '../images/messages.ts';
import type { DumpImages } from './dump-images.ts';
import { FileTable } from './file-table.ts';
import { readPipes } from './pipes.ts';
import { Terminals } from './terminals.ts';

/** What all processes of a dump have in common. */
export interface DumpContext {
  readonly images: DumpImages;
  readonly files: FileTable;
  readonly terminals: Terminals;
  readonly pipes: ReadonlyMap<number, PipeContent>;
  readonly pipesComplete: boolean;
  /** Keys of segments of System V shared memory by their ids. */
  readonly segments: ReadonlyMap<number, Segment>;
  /** Paths in the unified hierarchy, by sets of control groups. */
  readonly cgroups: ReadonlyMap<number, string>;
}

/** A segment of System V shared memory. */
export interface Segment {
  readonly key: number;
  readonly bytes: number;
}

/**
 * @param ipcNamespaces ids of those that processes of the dump are in
 * @throws IntegrityError
 */
export async function readContext(images: DumpImages, ipcNamespaces: Iterable<number>): Promise<DumpContext> {
  const terminals = await Terminals.read(images);
  const files = await FileTable.read(images, terminals);
  const { contents, complete } = await readPipes(images);
  return {
    images,
    files,
    terminals,
    pipes: contents,
    pipesComplete: complete,
    segments: await readSegments(images, ipcNamespaces),
    cgroups: cgroupsOf(await images.entry('cgroup', 'CGROUP')),
  };
}

async function readSegments(images: DumpImages, namespaces: Iterable<number>): Promise<Map<number, Segment>> {
  const segments = new Map<number, Segment>();
  for (const namespace of namespaces) {
    for (const entry of await images.entries(`ipcns-shm-${namespace}`, 'IPCNS_SHM')) {
      const description = entry.message('desc');
      if (description === undefined) continue;
      segments.set(description.number('id'), {
        key: description.number('key'),
        bytes: Number(entry.big('size')),
      });
    }
  }
  return segments;
}

function cgroupsOf(cgroup: MessageFields | undefined): Map<number, string> {
  const paths = new Map<number, string>();
  for (const set of cgroup?.messages('sets') ?? []) {
    // The unified hierarchy has no name.
    const unified = set.messages('ctls').find((member) => member.text('name') === '');
    if (unified !== undefined) paths.set(set.number('id'), unified.text('path'));
  }
  return paths;
}
