import { ByteReader, ByteWriter, Random } from '../core/index.ts';
import type { Kernel } from '../kernel/index.ts';
import type { ProgramDefinition, RegionDefinition, Workload } from './model.ts';
import { type ExitedPrograms, PROGRAM_COUNTS, Program, type ProgramStatus, type Stream } from './program.ts';

/** Version of the bytes below; the simulated kernel's own state inside them has its own. */
const STATE_VERSION = 1;
const EXITED_COUNTS = [...PROGRAM_COUNTS, 'processes', 'minorFaults'] as const;
const STATUSES: readonly ProgramStatus[] = ['running', 'idle'];

/** What a simulation consists of, besides its workload. */
export interface SimulationState {
  readonly kernel: Kernel;
  readonly softDirty: boolean;
  readonly programs: Program[];
  readonly exited: Map<string, ExitedPrograms>;
  readonly nowNanoseconds: number;
  readonly startedCount: number;
}

/** All that a simulation is, as bytes. */
export function encodeSimulation(workload: Workload, state: SimulationState): Uint8Array {
  const kernelState = state.kernel.save();
  const writer = new ByteWriter(kernelState.length + 1024 * (state.programs.length + 1));
  writer.u8(STATE_VERSION);
  writer.u8(state.softDirty ? 1 : 0);
  writer.varint(state.nowNanoseconds);
  writer.varint(state.startedCount);
  writer.lengthPrefixed(kernelState);
  writer.varint(state.programs.length);
  for (const program of state.programs) encodeProgram(writer, workload, program);
  writer.varint(state.exited.size);
  for (const [name, sum] of state.exited) {
    writer.text(name);
    for (const key of EXITED_COUNTS) writer.varint(sum[key]);
  }
  return writer.view();
}

/**
 * The reverse of `encodeSimulation`.
 * @throws IntegrityError if the bytes are damaged or name things that the workload does not have.
 */
export function decodeSimulation(
  workload: Workload,
  state: Uint8Array,
  restoreKernel: (bytes: Uint8Array) => Kernel,
): SimulationState {
  const reader = new ByteReader(state, 'the state of a simulated target');
  const version = reader.u8();
  if (version !== STATE_VERSION) throw reader.damaged(`state version ${version}, not ${STATE_VERSION},`);
  const softDirty = reader.u8() === 1;
  const nowNanoseconds = reader.varint();
  const startedCount = reader.varint();
  const kernel = restoreKernel(reader.lengthPrefixed());
  const programs: Program[] = [];
  const programCount = reader.varint();
  for (let index = 0; index < programCount; index++) {
    programs.push(decodeProgram(reader, workload, kernel));
  }
  const exited = new Map<string, ExitedPrograms>();
  const exitedCount = reader.varint();
  for (let index = 0; index < exitedCount; index++) {
    const sum = { processes: 0, minorFaults: 0, writes: 0, reads: 0, refused: 0, failedEvents: 0 };
    const name = reader.text();
    for (const key of EXITED_COUNTS) sum[key] = reader.varint();
    exited.set(name, sum);
  }
  reader.expectEnd();
  return { kernel, softDirty, programs, exited, nowNanoseconds, startedCount };
}

function encodeProgram(writer: ByteWriter, workload: Workload, program: Program): void {
  writer.varint(program.ordinal);
  writer.varint(program.process.pid);
  const position = workload.processes.indexOf(program.definition);
  // 0: a forked program, by name; else the position in `processes` plus one.
  writer.varint(position + 1);
  if (position < 0) writer.text(program.definition.name);
  writer.u8(STATUSES.indexOf(program.status));
  writer.varint(program.phaseIndex);
  writer.varint(program.phaseStartNanoseconds);
  writer.varint(program.repetitions);
  writer.varint(program.nextEvent);
  for (const name of PROGRAM_COUNTS) writer.varint(program.counts[name]);
  writer.varint(program.regions.size);
  for (const [name, region] of program.regions) {
    writer.text(name);
    writer.varint(region.definition.index);
    writer.varint(region.startPage);
    writer.varint(region.sizePages);
  }
  for (const stream of program.streams.flat()) encodeStream(writer, stream);
}

function encodeStream(writer: ByteWriter, stream: Stream): void {
  for (const word of stream.random.save()) writer.u32(word);
  writer.varint(stream.drawn);
  writer.varint(stream.turn);
  writer.varint(stream.spanPages);
}

function decodeProgram(reader: ByteReader, workload: Workload, kernel: Kernel): Program {
  const ordinal = reader.varint();
  const pid = reader.varint();
  const definition = decodeDefinition(reader, workload);
  const status = STATUSES[reader.u8()];
  if (status === undefined) throw reader.damaged('an unknown status');
  const process = kernel.process(pid);
  if (process === undefined) throw reader.damaged(`a program without its process ${pid}`);
  const program = new Program(definition, ordinal, process, workload);
  program.status = status;
  program.phaseIndex = reader.varint();
  program.phaseStartNanoseconds = reader.varint();
  program.repetitions = reader.varint();
  program.nextEvent = reader.varint();
  for (const name of PROGRAM_COUNTS) program.counts[name] = reader.varint();
  decodeRegions(reader, workload, program);
  for (const stream of program.streams.flat()) decodeStream(reader, stream);
  for (const stream of program.activeStreams) program.scheduleStream(stream);
  return program;
}

function decodeDefinition(reader: ByteReader, workload: Workload): ProgramDefinition {
  const position = reader.varint();
  const definition = position === 0 ? workload.programs.get(reader.text()) : workload.processes[position - 1];
  if (definition === undefined) throw reader.damaged('a program that the workload does not have');
  return definition;
}

function decodeRegions(reader: ByteReader, workload: Workload, program: Program): void {
  const count = reader.varint();
  for (let index = 0; index < count; index++) {
    const name = reader.text();
    const definition: RegionDefinition | undefined = workload.regions[reader.varint()];
    if (definition === undefined) throw reader.damaged('a region that the workload does not have');
    program.regions.set(name, { definition, startPage: reader.varint(), sizePages: reader.varint() });
  }
}

function decodeStream(reader: ByteReader, stream: Stream): void {
  stream.random = Random.restore([reader.u32(), reader.u32(), reader.u32(), reader.u32()]);
  stream.drawn = reader.varint();
  stream.turn = reader.varint();
  stream.spanPages = reader.varint();
}
