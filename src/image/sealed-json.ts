import { createHash } from 'node:crypto';
import { IntegrityError, StoreVersionError } from '../core/index.ts';
import { STORE_FORMAT_VERSION } from './limits.ts';

const SEAL_HEAD = ',\n  "seal": "';
const SEAL_TAIL = '"\n}\n';
const SEAL_DIGITS = 64;

/**
 * JSON text that proves itself: two-space indented, with a last field `seal`, the SHA-256 of all text in front of the
 * comma before it. A reader in any language can check it without caring for how numbers and keys are printed.
 */
export function sealJson(
  format: string,
  content: Readonly<Record<string, unknown>>,
  version = STORE_FORMAT_VERSION,
): string {
  const text = JSON.stringify({ format, version, ...content }, null, 2);
  const body = text.slice(0, text.lastIndexOf('\n}'));
  return `${body}${SEAL_HEAD}${sha256Of(body)}${SEAL_TAIL}`;
}

/**
 * Parses what `sealJson` wrote.
 * @param what names the file in errors.
 * @param newestVersion that the caller understands; it understands all before it.
 * @throws StoreVersionError for another version, IntegrityError for any other difference, be it one blank.
 */
export function openSealedJson(
  text: string,
  format: string,
  what: string,
  newestVersion = STORE_FORMAT_VERSION,
): Record<string, unknown> {
  const damaged = (found: string) =>
    new IntegrityError(`${what} is damaged: ${found}`, {
      hint: "run 'ckpt verify' to list everything that is damaged",
      data: { file: what },
    });
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw damaged('it is not JSON');
  }
  if (typeof parsed !== 'object' || parsed === null || !('format' in parsed) || !('version' in parsed)) {
    throw damaged(`it is not a ${format} document`);
  }
  if (parsed.format !== format)
    throw damaged(`it says to be ${JSON.stringify(parsed.format)}, not ${format}`);
  if (!isKnownVersion(parsed.version, newestVersion)) {
    throw new StoreVersionError(
      `${what} has format version ${JSON.stringify(parsed.version)}, this ckpt knows ${newestVersion}`,
      { hint: 'use the ckpt that wrote this store, or a newer one', data: { file: what } },
    );
  }
  const body = text.slice(0, -(SEAL_HEAD.length + SEAL_DIGITS + SEAL_TAIL.length));
  if (text !== `${body}${SEAL_HEAD}${sha256Of(body)}${SEAL_TAIL}`) throw damaged('its seal does not match');
  return parsed as Record<string, unknown>;
}

function isKnownVersion(version: unknown, newest: number): boolean {
  return (
    typeof version === 'number' &&
    Number.isInteger(version) &&
    version >= STORE_FORMAT_VERSION &&
    version <= newest
  );
}

function sha256Of(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex');
}
