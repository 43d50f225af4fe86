import { IntegrityError, JsonFields, StoreVersionError } from '../core/index.ts';
import { decodeProcess } from './live-state-decode.ts';
import {
  type KnownFile,
  LIVE_STATE_FORMAT,
  type LiveProcessState,
  type LiveState,
} from './live-state-format.ts';

/** The bytes of a state, as LIVE-STATE.md specifies them. */
export function encodeLiveState(state: LiveState): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ format: LIVE_STATE_FORMAT, ...state }));
}

/**
 * Parses and checks the state bytes of a checkpoint of a live target.
 * @param what names the bytes in errors: `the state of checkpoint 000003`
 * @throws StoreVersionError for another format, the one of older ckpt included; IntegrityError naming the field that
 *   is not as specified
 */
export function decodeLiveState(bytes: Uint8Array, what: string): LiveState {
  const document = parse(bytes, what);
  requireFormat(document, what);
  const fields = new JsonFields(document, what);
  const machine = fields.oneOf('machine', ['x86_64', 'aarch64'] as const);
  const processes = fields.objects('processes').map((process) => decodeProcess(process, machine));
  requireTree(fields, processes);
  return {
    machine,
    kernelRelease: fields.text('kernelRelease'),
    bootId: fields.text('bootId'),
    processes,
    gaps: fields.texts('gaps'),
    ...(fields.has('mappedFiles') ? { mappedFiles: fields.objects('mappedFiles').map(decodeKnownFile) } : {}),
  };
}

function decodeKnownFile(fields: JsonFields): KnownFile {
  return {
    path: fields.text('path'),
    sizeBytes: fields.count('sizeBytes'),
    buildId: fields.orNull('buildId', () =>
      fields.matching('buildId', /^(?:[0-9a-f]{2})+$/, 'hexadecimal digits, two a byte'),
    ),
  };
}

function parse(bytes: Uint8Array, what: string): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new IntegrityError(`${what} is malformed: it is not JSON in UTF-8`, {
      hint: "run 'ckpt verify' to list everything that is damaged",
      data: { file: what },
      cause,
    });
  }
}

/** ckpt-live-1 did not say its name in the bytes: it was the texts of /proc of one process, too little to rebuild it. */
function requireFormat(document: unknown, what: string): void {
  if (typeof document !== 'object' || document === null || Array.isArray(document)) return;
  const format = 'format' in document ? document.format : 'ckpt-live-1';
  if (format === LIVE_STATE_FORMAT) return;
  throw new StoreVersionError(
    `${what} has format ${JSON.stringify(format)}, this ckpt knows ${LIVE_STATE_FORMAT}`,
    {
      hint:
        format === 'ckpt-live-1'
          ? 'its memory can be restored and verified as ever; take a new checkpoint to have the whole state'
          : 'use the ckpt that wrote this store, or a newer one',
      data: { file: what },
    },
  );
}

/** Every process once, the root first, parents before their children. */
function requireTree(fields: JsonFields, processes: readonly LiveProcessState[]): void {
  const seen = new Set<number>();
  for (const { pid, parentPid } of processes) {
    const isPlaced = seen.size === 0 ? parentPid === 0 : seen.has(parentPid);
    if (seen.has(pid) || !isPlaced) {
      throw fields.wrong(
        'processes',
        `a tree, parents before their children, which process ${pid} is out of`,
      );
    }
    seen.add(pid);
  }
  if (seen.size === 0) throw fields.wrong('processes', 'at least one process');
}
