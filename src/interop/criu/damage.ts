import { IntegrityError } from '../../core/index.ts';

/** Says where a file is damaged. CRIU has no way to mend one: what is left is another copy. */
export function damaged(
  { path, offsetBytes }: { readonly path: string; readonly offsetBytes: number },
  what: string,
): IntegrityError {
  return new IntegrityError(`${path} is damaged at byte ${offsetBytes}: ${what}`, {
    hint: 'copy it again from where CRIU wrote it',
    data: { path, offset: offsetBytes },
  });
}
