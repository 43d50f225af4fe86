/** A member of a container checkpoint archive. */
export interface ArchiveMember {
  /** Relative to the archive's root, without `./` in front and without a slash at the end. */
  readonly name: string;
  readonly kind: 'file' | 'link' | 'directory';
  /** Permission bits, as in st_mode & 07777. */
  readonly mode: number;
  /** Content of a file; 0 for others. */
  readonly bytes: number;
  /** What a link says. */
  readonly target?: string;
  /** Where the content of a file was unpacked to. */
  readonly path?: string;
}

/** One checkpoint of an unpacked archive: a directory of CRIU images, and all that came with it. */
export interface UnpackedCheckpoint {
  /** The directory of its images below the archive's root. */
  readonly imagesPath: 'checkpoint' | 'pre-checkpoint';
  /** Every member that belongs to this checkpoint, those of the images directory among them, in the archive's order. */
  readonly members: readonly ArchiveMember[];
}

/** An archive, its images in directories of their own, side by side as their `parent` links expect. */
export interface UnpackedArchive {
  /** The scratch directory: `<rootPath>/checkpoint` and `<rootPath>/pre-checkpoint` hold what CRIU wrote. */
  readonly rootPath: string;
  /** Oldest first: the pre-checkpoint, if there is one, and the checkpoint, if there is one. */
  readonly checkpoints: readonly UnpackedCheckpoint[];
}
