import type { CheckpointName, WorkProgress } from '../../checkpoint/index.ts';

/** Whose pagemaps are written: CRIU 3.5 to 4.1 count pages in one field, 4.2 in another. */
export type CriuVersion = '3.17' | '4.2';

/** `flat`: one directory that needs no other. `chain`: one for each checkpoint, linked as CRIU links them. */
export type ExportLayout = 'flat' | 'chain';

/** What to write for `criu restore`, and to where. */
export interface ExportRequest {
  readonly storeDirectory: string;
  readonly checkpoint: CheckpointName;
  /** Must not exist. */
  readonly outputDirectory: string;
  readonly layout: ExportLayout;
  /** Writes pagemaps as this version does; as every version can read them unless given. */
  readonly criuVersion?: CriuVersion | undefined;
  /** Leaves out the pages that `ckpt page-server --lazy` can hand over while the restored processes run; flat only. */
  readonly lazy?: boolean | undefined;
  /** Decompression threads; by default one for each core. */
  readonly workers?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: WorkProgress) => void) | undefined;
}

/** One directory of images that was written. */
export interface ExportedDirectory {
  readonly checkpoint: number;
  /** Where its images are. */
  readonly directory: string;
  /** The checkpoint whose directory its link `parent` names; null if it stands alone. */
  readonly parent: number | null;
  /** Pagemaps written: of processes and of shared memory objects. */
  readonly memories: number;
  /** Pages in its pages files; those of zeros are holes in them. */
  readonly pages: number;
  readonly zeroPages: number;
  /** Pages that its parent has. */
  readonly parentPages: number;
  /** Pages left to the page server. */
  readonly lazyPages: number;
  /** Files, links and directories that were kept as they were. */
  readonly files: number;
  /** Bytes of these and of the pages files. */
  readonly bytes: number;
}

/** What an export wrote. */
export interface ExportResult {
  readonly checkpoint: number;
  readonly layout: ExportLayout;
  readonly outputDirectory: string;
  /** The one that `criu restore -D` takes, or, of a pre-dump, `criu dump --prev-images-dir`. */
  readonly imagesDirectory: string;
  /** Only a chain can end with one. */
  readonly preDump: boolean;
  /** Oldest first. */
  readonly directories: readonly ExportedDirectory[];
  /** What will be different from the images as they were imported, and why, as sentences. */
  readonly warnings: readonly string[];
  readonly memoryDigest: string;
  readonly microseconds: number;
}
