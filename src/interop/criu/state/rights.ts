import type { Credentials, HexNumber, LiveProcessState, ResourceLimit } from '../../../target/index.ts';
import type { MessageFields } from '../images/messages.ts';
import type { DumpImages } from './dump-images.ts';
import { hex } from './numbers.ts';

/** By the label that the image has (images/core.proto, seccomp_mode). */
const SECCOMP_MODES: Readonly<Record<string, number>> = { disabled: 0, strict: 1, filter: 2 };

const NO_CREDENTIALS: Credentials = {
  userIds: [0, 0, 0, 0],
  groupIds: [0, 0, 0, 0],
  supplementaryGroups: [],
  capabilities: {
    inheritable: '0x0',
    permitted: '0x0',
    effective: '0x0',
    bounding: '0x0',
    ambient: '0x0',
  },
  noNewPrivileges: false,
};

/** Whose rights a process has: those of its leader. @throws IntegrityError */
export async function credentialsOf(
  images: DumpImages,
  pid: number,
  core: MessageFields,
): Promise<Credentials> {
  const found =
    core.message('thread_core')?.message('creds') ?? (await images.entry(`creds-${pid}`, 'CREDS'));
  if (found === undefined) return NO_CREDENTIALS;
  const ids = (...fields: string[]) => fields.map((field) => found.number(field));
  return {
    userIds: ids('uid', 'euid', 'suid', 'fsuid'),
    groupIds: ids('gid', 'egid', 'sgid', 'fsgid'),
    supplementaryGroups: found.numbers('groups'),
    capabilities: {
      inheritable: setOf(found, 'cap_inh'),
      permitted: setOf(found, 'cap_prm'),
      effective: setOf(found, 'cap_eff'),
      bounding: setOf(found, 'cap_bnd'),
      ambient: '0x0',
    },
    noNewPrivileges: (found.optionalNumber('no_new_privs') ?? 0) !== 0,
  };
}

/** A set in words of 32 bits, the low one first. */
function setOf(credentials: MessageFields, field: string): HexNumber {
  const [low = 0n, high = 0n] = credentials.bigs(field);
  return hex((high << 32n) | low);
}

/** By number of the resource. @throws IntegrityError */
export async function limitsOf(
  images: DumpImages,
  pid: number,
  process: MessageFields,
): Promise<ResourceLimit[]> {
  const inCore = process.message('rlimits')?.messages('rlimits') ?? [];
  const limits = inCore.length > 0 ? inCore : await images.entries(`rlimit-${pid}`, 'RLIMIT');
  return limits.map((limit, resource) => ({
    resource,
    soft: hex(limit.big('cur')),
    hard: hex(limit.big('max')),
  }));
}

export function seccompModeOf(core: MessageFields): LiveProcessState['seccompMode'] {
  const label =
    core.message('thread_core')?.optionalLabel('seccomp_mode') ??
    core.message('tc')?.optionalLabel('old_seccomp_mode') ??
    'disabled';
  return SECCOMP_MODES[label] ?? 0;
}
