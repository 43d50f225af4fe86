import {
  chmod,
  mkdir,
  mkdtemp,
  open,
  readdir,
  realpath,
  rename,
  rm,
  statfs,
  symlink,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { GatheredWriter, type WorkProgress } from '../../../checkpoint/index.ts';
import { formatBytes, PAGE_SIZE, StoreFullError, UsageError } from '../../../core/index.ts';
import { asStoreError } from '../../../store/index.ts';
import { type ArchiveStream, openArchive } from './archive-stream.ts';
import { type AdmittedMember, MemberRules } from './member-rules.ts';
import { readTar, type TarMember } from './tar-reader.ts';

/** The images of `podman container checkpoint`, of the kubelet, and of containerd. */
const CHECKPOINT = 'checkpoint';
/** Those of `podman container checkpoint --pre-checkpoint`, to which the link `parent` of the former leads. */
const PRE_CHECKPOINT = 'pre-checkpoint';

/** What small archives may unpack to, however well they are compressed. */
const LEAST_LIMIT_BYTES = 16 * 2 ** 30;
/** The memory of ordinary processes compresses to a tenth. What is far beyond may still be a heap of zeros. */
const MOST_EXPANSION = 200;

const MOST_NAME_LENGTH = 60;

/** Which archive to unpack, and within which bounds. */
export interface UnpackRequest {
  /** A container checkpoint: tar, plain or compressed by gzip or zstd. */
  readonly archivePath: string;
  /** The archive of its pre-checkpoint, where that is separate (`podman container restore --import-previous`). */
  readonly previousPath?: string | undefined;
  /** Where a directory may be made for the time of the import. */
  readonly scratchDirectory: string;
  /** Unpacks at most that much; unless given 16 GiB or 200 times the archive, whichever is more. */
  readonly maxUnpackedBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: WorkProgress) => void) | undefined;
}

/** A container checkpoint archive in a scratch directory. */
export interface UnpackedArchive {
  /** All of its members, with their modes and links. Absolute, without links. */
  readonly rootPath: string;
  /** The newest images in it: `checkpoint` below the root, or `pre-checkpoint` if there is nothing else. */
  readonly imagesPath: string;
}

/**
 * Unpacks an archive, has it used, and removes it whatever happens.
 * @throws UsageError if it is no container checkpoint; IntegrityError naming the member or the offset if it is damaged or
 *   hostile; StoreFullError if there is no room; what `use` throws.
 */
export async function withUnpackedArchive<Result>(
  request: UnpackRequest,
  use: (unpacked: UnpackedArchive) => Promise<Result>,
): Promise<Result> {
  const { archivePath, previousPath, scratchDirectory } = request;
  return withScratchDirectory(scratchDirectory, archivePath, async (rootPath) => {
    await new Unpacking(archivePath, rootPath, request).run();
    if (previousPath !== undefined) {
      await withScratchDirectory(scratchDirectory, previousPath, async (previousRoot) => {
        await new Unpacking(previousPath, previousRoot, request).run();
        await addPrevious(request, rootPath, previousRoot);
      });
    }
    return use({ rootPath, imagesPath: join(rootPath, await newestImages(rootPath, archivePath)) });
  });
}

/** @param archivePath what the directory is named after: errors in images name it. */
async function withScratchDirectory<Result>(
  parent: string,
  archivePath: string,
  use: (path: string) => Promise<Result>,
): Promise<Result> {
  let path: string;
  try {
    path = await mkdtemp(
      join(await realpath(parent), `${basename(archivePath).slice(0, MOST_NAME_LENGTH)}-`),
    );
  } catch (cause) {
    throw asStoreError(cause, 'create a directory in', parent);
  }
  try {
    return await use(path);
  } finally {
    await openDirectories(path);
    await rm(path, { recursive: true, force: true });
  }
}

/** So that what was unpacked can be removed, also where modes keep even its owner out. */
async function openDirectories(path: string): Promise<void> {
  await chmod(path, 0o700);
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await openDirectories(join(path, entry.name));
  }
}

/** Adds the members of an earlier archive; where both have one the later counts, as when podman unpacks them. */
async function addPrevious(
  { archivePath, previousPath }: UnpackRequest,
  rootPath: string,
  previousRoot: string,
): Promise<void> {
  const names = new Set(await readdir(rootPath));
  if (names.has(PRE_CHECKPOINT)) {
    throw new UsageError(`${archivePath} has a pre-checkpoint of its own`, {
      hint: `import it without ${previousPath}`,
      data: { path: archivePath },
    });
  }
  const added = (await readdir(previousRoot)).filter((name) => !names.has(name));
  if (!added.includes(PRE_CHECKPOINT)) {
    throw new UsageError(`${previousPath} holds no pre-checkpoint`, {
      hint: "name the archive of 'podman container checkpoint --pre-checkpoint --export'",
      data: { path: previousPath ?? '' },
    });
  }
  for (const name of added) await rename(join(previousRoot, name), join(rootPath, name));
}

async function newestImages(rootPath: string, archivePath: string): Promise<string> {
  const names = await readdir(rootPath);
  if (names.includes(CHECKPOINT)) return CHECKPOINT;
  if (names.includes(PRE_CHECKPOINT)) return PRE_CHECKPOINT;
  const isPod = names.includes('pod.dump') || names.includes('pod.options');
  throw new UsageError(`${archivePath} holds no ${CHECKPOINT}/ directory`, {
    hint: isPod
      ? 'it is the archive of a pod: import those of its containers'
      : 'a container has the images of CRIU there; unpack an archive of other images, and import their directory',
    data: { path: archivePath },
  });
}

/** One archive on its way into a directory. */
class Unpacking {
  readonly #path: string;
  readonly #root: string;
  readonly #request: UnpackRequest;
  readonly #writer = new GatheredWriter();
  readonly #directories: AdmittedMember[] = [];
  readonly #links: AdmittedMember[] = [];
  #doneBytes = 0;

  constructor(path: string, root: string, request: UnpackRequest) {
    this.#path = path;
    this.#root = root;
    this.#request = request;
  }

  async run(): Promise<void> {
    const archive = await openArchive(this.#path);
    const rules = new MemberRules(
      this.#path,
      this.#limitBytes(archive),
      archive.compression === 'none' && this.#request.maxUnpackedBytes === undefined,
    );
    for await (const member of readTar(archive.tar(), this.#path)) {
      this.#request.signal?.throwIfAborted();
      const admitted = rules.admit(member);
      if (admitted !== undefined) await this.#place(admitted, member);
    }
    // Nothing is ever written through a link: they come when all else is there.
    for (const { name, linkTarget } of this.#links) {
      await this.#attempt('create', name, (path) => symlink(linkTarget, path));
    }
    for (const { name, mode } of this.#directories.toReversed()) {
      await this.#attempt('change the mode of', name, (path) => chmod(path, mode));
    }
  }

  #limitBytes({ fileBytes, compression }: ArchiveStream): number {
    const { maxUnpackedBytes } = this.#request;
    if (compression === 'none') return maxUnpackedBytes ?? fileBytes;
    return maxUnpackedBytes ?? Math.max(LEAST_LIMIT_BYTES, fileBytes * MOST_EXPANSION);
  }

  async #place(admitted: AdmittedMember, member: TarMember): Promise<void> {
    const { name, kind } = admitted;
    // Directories that no member names get the mode that whoever else unpacks the archive gives them.
    await this.#attempt('create', dirname(name), (path) => mkdir(path, { recursive: true, mode: 0o755 }));
    if (kind === 'link') this.#links.push(admitted);
    else if (kind === 'file') await this.#writeFile(admitted, member);
    else {
      await this.#attempt('create', name, (path) => mkdir(path, { recursive: true, mode: 0o700 }));
      this.#directories.push(admitted);
    }
  }

  async #writeFile({ name, mode, bytes }: AdmittedMember, member: TarMember): Promise<void> {
    await this.#requireRoom(name, bytes);
    const handle = await this.#attempt('create', name, (path) => open(path, 'wx', 0o600));
    try {
      this.#writer.begin(handle, join(this.#root, name));
      try {
        let offsetBytes = 0;
        for await (const piece of member.content()) {
          this.#done(piece.length);
          await this.#writer.put(offsetBytes, piece);
          offsetBytes += piece.length;
        }
        await this.#writer.finish();
      } finally {
        await this.#writer.settle();
      }
      await this.#attempt('change the mode of', name, () => handle.chmod(mode));
      // When it was dumped is known by this alone.
      await this.#attempt('date', name, () => handle.utimes(member.modifiedAt, member.modifiedAt));
    } finally {
      await handle.close();
    }
  }

  #done(bytes: number): void {
    const { signal, onProgress } = this.#request;
    signal?.throwIfAborted();
    this.#doneBytes += bytes;
    const donePages = Math.floor(this.#doneBytes / PAGE_SIZE);
    onProgress?.({ phase: 'unpacking', donePages, totalPages: 0, doneBytes: this.#doneBytes });
  }

  /** Before the first byte: a member that does not fit would fill the file system for everybody. */
  async #requireRoom(name: string, bytes: number): Promise<void> {
    const { bavail, bsize } = await this.#attempt('look at', '.', (path) => statfs(path));
    const freeBytes = bavail * bsize;
    if (bytes <= freeBytes) return;
    throw new StoreFullError(
      `${this.#path} cannot be unpacked: ${name} has ${formatBytes(bytes)}, the file system of the store ${formatBytes(freeBytes)} left`,
      {
        hint: 'free some space, or put the store on a larger file system',
        data: { file: this.#path, member: name, bytes },
      },
    );
  }

  async #attempt<Result>(
    doing: string,
    name: string,
    work: (path: string) => Promise<Result>,
  ): Promise<Result> {
    const path = join(this.#root, name);
    try {
      return await work(path);
    } catch (cause) {
      throw asStoreError(cause, doing, path);
    }
  }
}
