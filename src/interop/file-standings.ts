import { stat } from 'node:fs/promises';
import type { StoredVma } from '../image/index.ts';
import type { FileIdentity, KnownFile, LiveState } from '../target/index.ts';
import { type FileStanding, standingOf, standingOfKnown } from './mapped-files.ts';

/** How the files that a process had mapped relate to those that are at their paths now; each is looked at once. */
export class FileStandings {
  readonly #known: ReadonlyMap<string, KnownFile> | undefined;
  readonly #takenMilliseconds: number;
  readonly #standings = new Map<string, FileStanding>();

  /** @param takenMilliseconds when the checkpoint was taken, since 1970 */
  constructor({ mappedFiles }: LiveState, takenMilliseconds: number) {
    this.#known = mappedFiles && new Map(mappedFiles.map((file) => [file.path, file]));
    this.#takenMilliseconds = takenMilliseconds;
  }

  /** Of the file that is mapped there. */
  async of(vma: StoredVma): Promise<FileStanding> {
    return this.#once(vma.pathname, () =>
      this.#known === undefined ? standingOf(vma, this.#takenMilliseconds) : this.#ofRecorded(vma.pathname),
    );
  }

  /** Of the program of a process, whose identity tells more than a mapping. */
  async ofProgram(exe: FileIdentity): Promise<FileStanding> {
    return this.#known === undefined
      ? standingOfProgram(exe)
      : this.#once(exe.path, () => this.#ofRecorded(exe.path));
  }

  async #ofRecorded(path: string): Promise<FileStanding> {
    const known = this.#known?.get(path);
    return known === undefined ? 'unknown' : standingOfKnown(known);
  }

  async #once(path: string, look: () => Promise<FileStanding>): Promise<FileStanding> {
    const standing = this.#standings.get(path) ?? (await look());
    this.#standings.set(path, standing);
    return standing;
  }
}

async function standingOfProgram(exe: FileIdentity): Promise<FileStanding> {
  const found = await stat(exe.path, { bigint: true }).catch(() => undefined);
  if (found === undefined) return 'missing';
  const isSame =
    found.ino === BigInt(exe.inode) &&
    Number(found.size) === exe.sizeBytes &&
    found.mtimeNs === BigInt(exe.modifiedNanoseconds);
  return isSame ? 'same' : 'changed';
}
