import { IntegrityError } from '../core/index.ts';
import type { BlockCodec, CodecName, EncodedBlock, StoredBlock } from './block.ts';
import { digestPages, PAGE_DIGEST_BYTES } from './digest.ts';
import { practise } from './practice.ts';

/** Digests of adjacent pages. */
export interface PageDigests {
  /** 16 bytes a page. */
  readonly digests: Uint8Array;
  /** 1 for a page of zeros, else 0; one byte a page. */
  readonly zeroFlags: Uint8Array;
}

/** What can be asked of a worker. */
export interface JobRequests {
  /** Answered as soon as the worker's codec is open, and has encoded so many blocks of a sample for practice. */
  open: { readonly practiceBlocks: number };
  digest: { readonly bytes: Uint8Array; readonly pageCount: number };
  encode: {
    readonly raw: Uint8Array;
    readonly codec: CodecName;
    readonly level: number;
    readonly into: Uint8Array | undefined;
  };
  encodePages: {
    readonly bytes: Uint8Array;
    readonly pages: Uint16Array;
    readonly blockPages: number;
    readonly codec: CodecName;
    readonly level: number;
  };
  decode: {
    readonly block: StoredBlock;
    readonly record: string;
    readonly digests: Uint8Array | undefined;
    readonly into: Uint8Array | undefined;
  };
}

/** Bytes, or only how many they are if they were placed where the caller wanted them: those need not travel back. */
export type Content = Uint8Array | number;

/** A block that was encoded where its pages lay. */
export interface PlacedBlock {
  readonly codec: CodecName;
  readonly storedBytes: number;
  readonly checksum: number;
}

/** What comes back. */
export interface JobResults {
  open: null;
  digest: PageDigests;
  encode: Omit<EncodedBlock, 'stored'> & { readonly stored: Content };
  encodePages: { readonly blocks: readonly PlacedBlock[] };
  decode: Content;
}

export type JobKind = keyof JobRequests;

/** Each kind of job. */
const JOBS: {
  readonly [Kind in JobKind]: (codec: BlockCodec, request: JobRequests[Kind]) => JobResults[Kind];
} = {
  open: (codec, { practiceBlocks }) => {
    practise(codec, practiceBlocks);
    return null;
  },
  digest: (_, { bytes, pageCount }) => {
    const digests = new Uint8Array(pageCount * PAGE_DIGEST_BYTES);
    const zeroFlags = new Uint8Array(pageCount);
    digestPages(bytes, pageCount, digests, zeroFlags);
    return { digests, zeroFlags };
  },
  encode: (codec, { raw, codec: wanted, level, into }) => {
    const encoded = codec.encode(raw, wanted, level, into);
    return { ...encoded, stored: unlessPlaced(encoded.stored, into) };
  },
  encodePages: (codec, { bytes, pages, blockPages, codec: wanted, level }) => ({
    blocks: codec
      .encodePages(bytes, pages, blockPages, wanted, level)
      .map(({ codec, stored, checksum }) => ({ codec, storedBytes: stored.length, checksum })),
  }),
  decode: (codec, { block, record, digests, into }) =>
    unlessPlaced(codec.decode(block, record, digests, into), into),
};

function unlessPlaced(bytes: Uint8Array, into: Uint8Array | undefined): Content {
  return bytes.buffer === into?.buffer ? bytes.length : bytes;
}

/** The content of a result, wherever it was placed. */
export function contentOf(content: Content, into: Uint8Array | undefined): Uint8Array {
  if (typeof content !== 'number') return content;
  if (into === undefined) throw new RangeError('a result was placed where nobody asked for it');
  return into.subarray(0, content);
}

/** Does a job on the calling thread. */
export function runJob<Kind extends JobKind>(codec: BlockCodec, job: Job<Kind>): JobResults[Kind] {
  return JOBS[job.kind](codec, job.request);
}

export interface Job<Kind extends JobKind = JobKind> {
  readonly kind: Kind;
  readonly request: JobRequests[Kind];
}

/** Jobs on their way to a worker, which does them one after another and answers once. */
export interface BatchMessage {
  readonly batch: number;
  readonly jobs: readonly Job[];
}

/** What became of each job of a batch, in the same order. */
export interface AnswerMessage {
  readonly batch: number;
  readonly outcomes: readonly Outcome[];
}

export type Outcome = { readonly result: JobResults[JobKind] } | { readonly failure: Failure };

/** An exception that travels between threads, which keep neither the class nor the properties of an error. */
export interface Failure {
  readonly message: string;
  readonly integrity?: { readonly hint: string | undefined; readonly data: IntegrityError['data'] };
}

export function toFailure(error: unknown): Failure {
  if (error instanceof IntegrityError) {
    return { message: error.message, integrity: { hint: error.hint, data: error.data } };
  }
  return { message: error instanceof Error ? error.message : String(error) };
}

export function fromFailure({ message, integrity }: Failure): Error {
  if (integrity === undefined) return new Error(`codec worker: ${message}`);
  const { hint, data } = integrity;
  return new IntegrityError(message, hint === undefined ? { data } : { hint, data });
}
