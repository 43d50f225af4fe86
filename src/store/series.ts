import { encodePruning } from '../image/index.ts';
import type { BlockSource } from './block-source.ts';
import type { StoreFiles } from './files.ts';
import { PRUNING_FILE } from './layout.ts';
import { prune } from './pruning.ts';
import { finishPruning } from './recovery.ts';

/**
 * Checkpoints that begin to exist all at one moment, or never. Until then they are named in `pruning.json` like those
 * that a prune has removed: only who writes them can open them, and if it is killed the next writer removes them.
 */
export class CheckpointSeries {
  readonly #files: StoreFiles;
  readonly #source: BlockSource;
  readonly #numbers: readonly number[];
  #hidden = true;

  private constructor(files: StoreFiles, source: BlockSource, numbers: readonly number[]) {
    this.#files = files;
    this.#source = source;
    this.#numbers = numbers;
  }

  /** Hides the checkpoints that are about to be written. */
  static async begin(
    files: StoreFiles,
    source: BlockSource,
    first: number,
    count: number,
  ): Promise<CheckpointSeries> {
    const numbers = Array.from({ length: count }, (_, index) => first + index);
    await files.replaceText('.', PRUNING_FILE, encodePruning(numbers), 'pruning');
    return new CheckpointSeries(files, source, numbers);
  }

  /** Whether a checkpoint belongs to it and cannot be seen yet. */
  hides(checkpoint: number): boolean {
    return this.#hidden && this.#numbers.includes(checkpoint);
  }

  /** Makes all its checkpoints exist. @throws StoreUnusableError */
  async reveal(): Promise<void> {
    await finishPruning(this.#files);
    this.#hidden = false;
  }

  /** Removes what was written of it. @throws StoreUnusableError; the next writer does it then */
  async abandon(): Promise<void> {
    await prune(this.#files, this.#source, { checkpoints: this.#numbers, rewrites: [] });
    this.#source.close();
    this.#hidden = false;
  }
}
