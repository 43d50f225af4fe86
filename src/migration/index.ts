export type { Advice } from './advise.ts';
export { type HostCosts, USUAL_COSTS } from './costs.ts';
export type { CurvePoint } from './curve.ts';
export { type BandwidthStep, Link, type LinkOptions, TCP_SHARE } from './link.ts';
export type { MigratingMemory } from './memory.ts';
export type { Outcome, PolicyName, StrategyName } from './outcome.ts';
export { PageBitmap } from './page-bitmap.ts';
export { CLARK_DEFAULTS, type ClarkOptions } from './policies/clark.ts';
export { CRIU_DEFAULTS, type CriuOptions } from './policies/criu.ts';
export { FIXED_DEFAULTS, type FixedOptions } from './policies/fixed.ts';
export { PRE_PAGING_KINDS, type PrePaging } from './policies/postcopy.ts';
export { XEN_DEFAULTS, type XenOptions } from './policies/xen.ts';
export { checkQemuOptions, QEMU_DEFAULTS, type QemuOptions } from './qemu/options.ts';
export type {
  RanOn,
  ReceivedMigration,
  ReceiveEvent,
  ReceiveOptions,
  ReceiveProgress,
} from './receive/request.ts';
export { type ReceiveRequest, receiveMigrations } from './receive/serve.ts';
export { loadRecording } from './recording/load-recording.ts';
export { recordingNotes } from './recording/notes.ts';
export { type MemoryProfile, profileOf } from './recording/profile.ts';
export {
  type LiveRecording,
  type LiveRecordingRequest,
  recordLive,
} from './recording/record-live.ts';
export { recordWorkload, type WorkloadRecordingOptions } from './recording/record-workload.ts';
export { openRecordedMemory, type RecordedMemoryOptions } from './recording/recorded-memory.ts';
export type { Recording } from './recording/recording.ts';
export {
  INTERVAL_NAMES,
  type IntervalName,
  type Rehearsal,
  type RepetitionOptions,
  rehearse,
} from './rehearse.ts';
export { POLICY_NAMES, type PolicyChoice, type RehearsalOptions, rehearseOnce } from './rehearse-once.ts';
export type { Round } from './rounds.ts';
export { type MigrateRequest, migrateTarget } from './send/migrate-target.ts';
export { type Resolution, type ResolveRequest, resolveMigration } from './send/resolve.ts';
export type { Migration, MigrationProgress, StopTimes } from './send/send-types.ts';
export { type SendingCosts, USUAL_SENDING } from './send/sending-costs.ts';
export { openSimulatedMemory, type SimulatedMemoryOptions } from './simulated-memory.ts';
export { type MemorySource, openSource } from './source.ts';
export { parseSweep } from './sweep/axes.ts';
export type { AxisValue, SweepAxis, SweepCell, SweepResult } from './sweep/result.ts';
export { type Combination, type SweepOptions, sweep } from './sweep/sweep.ts';
export type {
  PageSample,
  TraceEnd,
  TraceHeader,
  TraceProcess,
  TraceProcessStep,
  TraceSeal,
  TraceStep,
} from './trace/format.ts';
export { TraceReader } from './trace/reader.ts';
export { type RecordRequest, type RecordResult, recordTrace } from './trace/record.ts';
export { DEFAULT_MAX_TRACE_BYTES } from './trace/size-budget.ts';
export { TraceWriter } from './trace/writer.ts';
export { USUAL, type UsualParameters } from './usual.ts';
export type { WatchedContent } from './watch/content-tally.ts';
export type { WatchedMapping } from './watch/mapping-tally.ts';
export { type WatchRequest, type WatchSample, type WatchStart, watchTarget } from './watch/watch.ts';
export { formatPeerAddress, isLoopback, parsePeerAddress } from './wire/address.ts';
export type { Channel, ChannelEvent } from './wire/channel.ts';
export { connectChannel } from './wire/connect.ts';
export { loadSecurity, type SecurityOptions } from './wire/credentials.ts';
export { listenForChannels } from './wire/listen.ts';
export type { Message, MessageOf, MessageType } from './wire/messages.ts';
export type {
  ChannelListener,
  ConnectOptions,
  ListenOptions,
  PeerAddress,
  RefusedConnection,
  Security,
} from './wire/options.ts';
export { requireSameUser } from './wire/same-user.ts';
export { type WorkingSetWindow, WorkingSetWindows, type WrittenPages } from './working-set.ts';
