import { execFileSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Unpacks an archive of this folder, holes of files included, into a new directory, which the caller removes. */
export function unpackCriuImages(name: 'braid' | 'snaps' | 'dedup' | 'session' | 'lazy' | 'zoo'): string {
  const directory = mkdtempSync(join(tmpdir(), 'ckpt-criu-images-'));
  execFileSync('tar', ['-xzSf', join(import.meta.dirname, `${name}.tar.gz`), '-C', directory]);
  return directory;
}
