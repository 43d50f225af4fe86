import { OutputError } from '../core/index.ts';

/** Does something with a file that the user asked for; failures become OutputErrors that name it. */
export async function attempt<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw outputError(path, error);
  }
}

/** The error for a file or directory that could not be written. */
export function outputError(path: string, error: unknown): OutputError {
  const { code, message } = error as NodeJS.ErrnoException;
  const hint =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? 'free some space, or write to a larger file system'
      : code === 'EFBIG'
        ? 'the file system cannot hold a sparse file as large as this; write to another one, such as a tmpfs'
        : 'choose another place to write to';
  return new OutputError(`cannot write ${path}: ${message}`, { hint, data: { path }, cause: error });
}
