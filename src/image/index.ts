export { decodeDeltaBlock, encodeDeltaBlock } from './delta-block.ts';
export { type DigestedProcess, memoryDigest, segmentDigest } from './digest.ts';
export {
  type BlockDigests,
  type DigestBlock,
  type DigestExtent,
  decodeDigestBlock,
  encodeDigestBlock,
} from './digest-block.ts';
export * from './limits.ts';
export {
  blockOfPosition,
  describeLocation,
  formatNumber,
  type Location,
  positionOf,
  slotOfPosition,
} from './location.ts';
export {
  type BlobReference,
  type CheckpointKind,
  type DumpTimes,
  type DumpWarning,
  describeProcess,
  FIRST_OBJECT_PID,
  type Manifest,
  type NotRestorable,
  type PageCounts,
  type StoredFiles,
  type StoredIdentity,
  type StoredIndex,
  type StoredProcess,
  type StoredState,
  type StoredVma,
} from './manifest.ts';
export { decodeManifest, encodeManifest } from './manifest-codec.ts';
export * from './pack.ts';
export {
  decodeRoot,
  encodeRoot,
  type SegmentLocation,
  type SegmentReference,
} from './root.ts';
export { openSealedJson, sealJson } from './sealed-json.ts';
export {
  appendEntry,
  appendZeroPage,
  createSegment,
  findInSegment,
  type GrowingSegment,
  lowerBoundInSegment,
  type Segment,
  sameDigest,
  sameEntry,
  windowStartOf,
} from './segment.ts';
export { decodeSegment, encodeSegment } from './segment-codec.ts';
export { decodePruning, decodeStoreFile, encodePruning, encodeStoreFile } from './store-file.ts';
