import type { Base64, LiveProcessState, MemoryLayout } from '../../../target/index.ts';
import type { MessageFields } from '../images/messages.ts';
import { base64, hex, words64 } from './numbers.ts';
import type { MemoryReader } from './types.ts';

/** More than that no kernel gives to arguments and variables together (fs/exec.c: a quarter of the stack, 6 MiB at most). */
const MAX_STRINGS_BYTES = 6 * 1024 * 1024;

/** Where things lie, for a process without memory. */
export const NO_LAYOUT: MemoryLayout = {
  startCode: '0x0',
  endCode: '0x0',
  startData: '0x0',
  endData: '0x0',
  startBrk: '0x0',
  brk: null,
  startStack: '0x0',
  argumentsStart: '0x0',
  argumentsEnd: '0x0',
  environmentStart: '0x0',
  environmentEnd: '0x0',
};

export function layoutOf(mm: MessageFields): MemoryLayout {
  return {
    startCode: hex(mm.big('mm_start_code')),
    endCode: hex(mm.big('mm_end_code')),
    startData: hex(mm.big('mm_start_data')),
    endData: hex(mm.big('mm_end_data')),
    startBrk: hex(mm.big('mm_start_brk')),
    brk: hex(mm.big('mm_brk')),
    startStack: hex(mm.big('mm_start_stack')),
    argumentsStart: hex(mm.big('mm_arg_start')),
    argumentsEnd: hex(mm.big('mm_arg_end')),
    environmentStart: hex(mm.big('mm_env_start')),
    environmentEnd: hex(mm.big('mm_env_end')),
  };
}

/** NT_AUXV: the pairs of words that the kernel gave to the program. */
export function auxiliaryVectorOf(mm: MessageFields): Base64 {
  return base64(words64(mm.bigs('mm_saved_auxv')));
}

/** Arguments and environment, which are in the memory of the process. */
export async function stringsOf(
  pid: number,
  mm: MessageFields,
  read: MemoryReader | undefined,
): Promise<Pick<LiveProcessState, 'commandLine' | 'environment'>> {
  const commandLine = await readBetween(pid, mm, ['mm_arg_start', 'mm_arg_end'], read);
  const environment = await readBetween(pid, mm, ['mm_env_start', 'mm_env_end'], read);
  return {
    commandLine:
      commandLine === undefined
        ? []
        : Buffer.from(commandLine).toString('utf8').replace(/\0$/, '').split('\0'),
    environment: environment === undefined ? null : base64(environment),
  };
}

async function readBetween(
  pid: number,
  mm: MessageFields,
  [startField, endField]: readonly [string, string],
  read: MemoryReader | undefined,
): Promise<Uint8Array | undefined> {
  const [start, end] = [mm.big(startField), mm.big(endField)];
  if (end <= start || end - start > BigInt(MAX_STRINGS_BYTES) || end > BigInt(Number.MAX_SAFE_INTEGER)) {
    return undefined;
  }
  return read?.(pid, Number(start), Number(end - start));
}
