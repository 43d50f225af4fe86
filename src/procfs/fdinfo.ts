/** /proc/PID/fdinfo/N (fs/proc/fd.c, seq_show). */
export interface DescriptorInfo {
  /** In bytes, as decimal text: directories and devices have positions of 64 bits. */
  readonly position: string;
  /** O_* as the architecture numbers them, without O_CLOEXEC. */
  readonly flags: number;
  readonly closeOnExec: boolean;
  /** Lines that only some kinds of files have, tabs made blanks. */
  readonly details: readonly string[];
}

/** O_CLOEXEC, on every architecture that ckpt knows (include/uapi/asm-generic/fcntl.h). */
const CLOSE_ON_EXEC = 0o2000000;
const COMMON_FIELDS: ReadonlySet<string> = new Set(['pos', 'flags', 'mnt_id', 'ino']);

/** Parses fdinfo; undefined if it is not one, as when the descriptor has just been closed. */
export function parseDescriptorInfo(text: string): DescriptorInfo | undefined {
  const position = /^pos:\s*(-?\d+)$/m.exec(text)?.[1];
  const octalFlags = /^flags:\s*([0-7]+)$/m.exec(text)?.[1];
  if (position === undefined || octalFlags === undefined) return undefined;
  const flags = Number.parseInt(octalFlags, 8);
  const isCommon = (line: string) => COMMON_FIELDS.has(line.slice(0, Math.max(0, line.indexOf(':'))));
  return {
    position,
    flags: flags & ~CLOSE_ON_EXEC,
    closeOnExec: (flags & CLOSE_ON_EXEC) !== 0,
    details: text
      .split('\n')
      .filter((line) => line !== '' && !isCommon(line))
      .map((line) => line.replaceAll(/\s+/g, ' ').trim()),
  };
}
