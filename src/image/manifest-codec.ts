import { formatPageAddress, JsonFields, PAGE_SIZE, parsePageAddress } from '../core/index.ts';
import {
  ADDRESS_SPACE_PAGES,
  BLOB_CHUNK_BYTES,
  EXTENDED_MANIFEST_VERSION,
  MAX_PACK_BLOCKS,
  STORE_FORMAT_VERSION,
} from './limits.ts';
import { formatNumber } from './location.ts';
import {
  type BlobReference,
  type DumpWarning,
  FIRST_OBJECT_PID,
  type Manifest,
  REASONS_NOT_RESTORABLE,
  STORED_KINDS,
  type StoredFiles,
  type StoredIndex,
  type StoredProcess,
  type StoredVma,
} from './manifest.ts';
import { BLOCK_CODECS } from './pack.ts';
import { openSealedJson, sealJson } from './sealed-json.ts';

const MANIFEST_FORMAT = 'ckpt-checkpoint';
const ADDRESS_PATTERN = /^0x[0-9a-f]{1,16}$/;
const SHA256_PATTERN = /^[0-9a-f]{64}$/;
const PROTECTION_PATTERN = /^[r-][w-][x-][ps]$/;
const OBJECT_ID_PATTERN = /^\d{1,20}$/;
const DEVICE_PATTERN = /^([0-9a-f]+):([0-9a-f]+)$/;

/** The text of a manifest file. */
export function encodeManifest(manifest: Manifest): string {
  const content = {
    ...manifest,
    processes: manifest.processes.map((process) => ({ ...process, vmas: process.vmas.map(vmaToJson) })),
    warnings: manifest.warnings.map(({ pid, startPage, endPage, reason }) => ({
      pid,
      start: formatPageAddress(startPage),
      end: formatPageAddress(endPage),
      reason,
    })),
  };
  return sealJson(MANIFEST_FORMAT, content, versionOf(manifest));
}

/** A ckpt that knows version 1 alone must not squash or prune away what it does not see. */
function versionOf({ target, files, notRestorable, processes }: Manifest): number {
  const isExtended =
    target.kind === 'criu' ||
    files !== undefined ||
    notRestorable !== undefined ||
    processes.some(({ sharedMemory }) => sharedMemory !== undefined);
  return isExtended ? EXTENDED_MANIFEST_VERSION : STORE_FORMAT_VERSION;
}

/**
 * Parses and checks a manifest.
 * @throws IntegrityError naming the field, StoreVersionError for another format version.
 */
export function decodeManifest(text: string, number: number): Manifest {
  const what = `the manifest of checkpoint ${formatNumber(number)}`;
  const fields = new JsonFields(openSealedJson(text, MANIFEST_FORMAT, what, EXTENDED_MANIFEST_VERSION), what);
  if (fields.count('number', 1) !== number) throw fields.wrong('number', `${number}, as its file name says`);
  const target = fields.object('target');
  const codec = fields.object('codec');
  const bytes = fields.object('bytes');
  const state = fields.objectOrNull('state');
  const kind = fields.oneOf('kind', ['base', 'delta'] as const);
  const parent = fields.countOrNull('parent', 1);
  if ((parent === null) !== (kind === 'base')) throw fields.wrong('parent', 'null for a base, else a number');
  if (parent !== null && parent >= number) throw fields.wrong('parent', 'an earlier checkpoint');
  return {
    number,
    kind,
    parent,
    preDump: fields.flag('preDump'),
    ...(fields.has('notRestorable')
      ? { notRestorable: fields.oneOf('notRestorable', REASONS_NOT_RESTORABLE) }
      : {}),
    createdAt: fields.text('createdAt'),
    target: {
      kind: target.oneOf('kind', STORED_KINDS),
      name: target.text('name'),
      fingerprint: target.text('fingerprint'),
    },
    pack: fields.count('pack', 1),
    packs: fields.ascendingCounts('packs', 1),
    codec: { name: codec.oneOf('name', BLOCK_CODECS), level: codec.count('level') },
    tracker: fields.text('tracker'),
    processes: fields.objects('processes').map(processFromJson),
    state:
      state === null
        ? null
        : {
            format: state.text('format'),
            summary: state.record('summary'),
            content: blobFromJson(state.object('content')),
          },
    ...(fields.has('files') ? { files: filesFromJson(fields.object('files')) } : {}),
    pages: countsFromJson(fields.object('pages')),
    bytes: { memory: bytes.count('memory'), stored: bytes.count('stored') },
    microseconds: timesFromJson(fields.object('microseconds')),
    warnings: fields.objects('warnings').map(warningFromJson),
    memoryDigest: fields.matching('memoryDigest', SHA256_PATTERN, '64 hexadecimal digits'),
  };
}

function vmaToJson(vma: StoredVma) {
  return {
    start: formatPageAddress(vma.startPage),
    end: formatPageAddress(vma.endPage),
    protection: `${vma.read ? 'r' : '-'}${vma.write ? 'w' : '-'}${vma.execute ? 'x' : '-'}${vma.shared ? 's' : 'p'}`,
    offset: formatPageAddress(vma.offsetPages),
    device: `${vma.deviceMajor.toString(16)}:${vma.deviceMinor.toString(16)}`,
    inode: vma.inode,
    path: vma.pathname,
    flags: vma.flags.join(' '),
  };
}

function vmaFromJson(fields: JsonFields): StoredVma {
  const startPage = addressFromJson(fields, 'start');
  const endPage = addressFromJson(fields, 'end');
  if (endPage <= startPage) throw fields.wrong('end', 'an address behind start');
  const protection = fields.matching('protection', PROTECTION_PATTERN, 'like rw-p');
  const device = DEVICE_PATTERN.exec(fields.matching('device', DEVICE_PATTERN, 'like fe:01'));
  const flags = fields.text('flags');
  return {
    startPage,
    endPage,
    read: protection[0] === 'r',
    write: protection[1] === 'w',
    execute: protection[2] === 'x',
    shared: protection[3] === 's',
    offsetPages: addressFromJson(fields, 'offset'),
    deviceMajor: Number.parseInt(device?.[1] ?? '0', 16),
    deviceMinor: Number.parseInt(device?.[2] ?? '0', 16),
    inode: fields.count('inode'),
    pathname: fields.text('path'),
    flags: flags === '' ? [] : flags.split(' '),
  };
}

function processFromJson(fields: JsonFields): StoredProcess {
  const trackerState = fields.objectOrNull('trackerState');
  const vmas = fields.objects('vmas').map(vmaFromJson);
  if (vmas.some((vma, index) => index > 0 && vma.startPage < vmas[index - 1]!.endPage)) {
    throw fields.wrong('vmas', 'in address order without overlap');
  }
  if (fields.has('sharedMemory')) fields.count('pid', FIRST_OBJECT_PID);
  return {
    pid: fields.count('pid'),
    parentPid: fields.count('parentPid'),
    name: fields.text('name'),
    ...(fields.has('fingerprint') ? { fingerprint: fields.text('fingerprint') } : {}),
    ...(fields.has('sharedMemory')
      ? { sharedMemory: fields.matching('sharedMemory', OBJECT_ID_PATTERN, 'a decimal number') }
      : {}),
    vmas,
    index: indexFromJson(fields.object('index')),
    trackerState: trackerState === null ? null : blobFromJson(trackerState),
  };
}

function filesFromJson(fields: JsonFields): StoredFiles {
  return {
    format: fields.text('format'),
    listing: blobFromJson(fields.object('listing')),
    content: blobFromJson(fields.object('content')),
  };
}

function indexFromJson(fields: JsonFields): StoredIndex {
  return {
    root: blobFromJson(fields.object('root')),
    segments: fields.count('segments'),
    zeroPages: fields.count('zeroPages'),
    dataPages: fields.count('dataPages'),
  };
}

function blobFromJson(fields: JsonFields): BlobReference {
  const bytes = fields.count('bytes');
  const blockCount = fields.count('blockCount');
  if (blockCount !== Math.ceil(bytes / BLOB_CHUNK_BYTES)) {
    throw fields.wrong(
      'blockCount',
      `the ${Math.ceil(bytes / BLOB_CHUNK_BYTES)} blocks that ${bytes} bytes take`,
    );
  }
  const firstBlock = fields.count('firstBlock');
  if (firstBlock + blockCount > MAX_PACK_BLOCKS) throw fields.wrong('firstBlock', 'within a pack');
  return {
    bytes,
    sha256: fields.matching('sha256', SHA256_PATTERN, '64 hexadecimal digits'),
    pack: fields.count('pack', 1),
    firstBlock,
    blockCount,
  };
}

function countsFromJson(fields: JsonFields): Manifest['pages'] {
  return {
    mapped: fields.count('mapped'),
    present: fields.count('present'),
    scanned: fields.count('scanned'),
    dirty: fields.count('dirty'),
    zero: fields.count('zero'),
    shared: fields.count('shared'),
    written: fields.count('written'),
  };
}

function timesFromJson(fields: JsonFields): Manifest['microseconds'] {
  return {
    freeze: fields.count('freeze'),
    scan: fields.count('scan'),
    read: fields.count('read'),
    total: fields.count('total'),
  };
}

function warningFromJson(fields: JsonFields): DumpWarning {
  return {
    pid: fields.count('pid'),
    startPage: addressFromJson(fields, 'start'),
    endPage: addressFromJson(fields, 'end'),
    reason: fields.text('reason'),
  };
}

function addressFromJson(fields: JsonFields, name: string): number {
  const page = parsePageAddress(fields.matching(name, ADDRESS_PATTERN, 'an address like 0x7f00'));
  if (page === undefined || page > ADDRESS_SPACE_PAGES) {
    throw fields.wrong(name, `an address that is a multiple of ${PAGE_SIZE}`);
  }
  return page;
}
