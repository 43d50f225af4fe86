import { readFileSync } from 'node:fs';
import type { Credentials } from '../live-state-format.ts';
import type { Caller } from '../rewrite/caller.ts';

const PR_SET_DUMPABLE = 4;
const PR_CAPBSET_DROP = 24;
const PR_SET_SECUREBITS = 28;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_RAISE = 2;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;
/** SECBIT_NO_SETUID_FIXUP: a change of user ids leaves capabilities alone. */
const NO_SETUID_FIXUP = 4;
/** _LINUX_CAPABILITY_VERSION_3. */
const CAPABILITY_VERSION = 0x20080522;
const CAP_SYS_ADMIN = 21n;
const CAP_CHECKPOINT_RESTORE = 40n;
const HIGHEST_CAPABILITY = 63n;

/** Credentials as /proc/PID/status prints them. */
export function parseCredentials(status: string): Credentials {
  const line = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
  const numbers = (name: string) => line(name).split(/\s+/).filter(Boolean).map(Number);
  const set = (name: string): `0x${string}` => `0x${line(name) || '0'}`;
  return {
    userIds: numbers('Uid'),
    groupIds: numbers('Gid'),
    supplementaryGroups: numbers('Groups'),
    capabilities: {
      inheritable: set('CapInh'),
      permitted: set('CapPrm'),
      effective: set('CapEff'),
      bounding: set('CapBnd'),
      ambient: set('CapAmb'),
    },
    noNewPrivileges: line('NoNewPrivs') === '1',
  };
}

/** The credentials of ckpt itself, which everything that it launches begins with. */
export function ownCredentials(): Credentials {
  return parseCredentials(readFileSync('/proc/self/status', 'latin1'));
}

/** Why these credentials cannot be had by somebody who starts with `own`, as a clause; undefined if they can. */
export function credentialsProblem(wanted: Credentials, own: Credentials): string | undefined {
  if (isSame(wanted, own)) return undefined;
  for (const kind of ['permitted', 'bounding', 'inheritable'] as const) {
    const available = kind === 'bounding' ? own.capabilities.bounding : own.capabilities.permitted;
    const missing = BigInt(wanted.capabilities[kind]) & ~BigInt(available);
    if (missing !== 0n) {
      return `its ${kind} capabilities include 0x${missing.toString(16)}, which ckpt does not have`;
    }
  }
  const isPrivileged = own.userIds[1] === 0;
  return isPrivileged ? undefined : 'its user, groups or capabilities are others than those of ckpt';
}

/** Whether processes can be made under chosen PIDs with these credentials (kernel/pid.c, alloc_pid). */
export function canChoosePids({ capabilities }: Credentials): boolean {
  const effective = BigInt(capabilities.effective);
  return ((effective >> CAP_SYS_ADMIN) & 1n) === 1n || ((effective >> CAP_CHECKPOINT_RESTORE) & 1n) === 1n;
}

/**
 * Gives the caller's thread the credentials of a checkpoint. To be called when nothing privileged is left to be done.
 */
export function setCredentials(caller: Caller, wanted: Credentials, own: Credentials): void {
  if (wanted.noNewPrivileges) caller.call('prctl', PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (isSame(wanted, own)) return;
  const { userIds, groupIds, supplementaryGroups, capabilities } = wanted;
  const groups = new Uint8Array(Uint32Array.from(supplementaryGroups).buffer);
  caller.call('setgroups', supplementaryGroups.length, caller.writeScratch(groups));
  for (let capability = 0n; capability <= HIGHEST_CAPABILITY; capability++) {
    const had = (BigInt(own.capabilities.bounding) >> capability) & 1n;
    const wants = (BigInt(capabilities.bounding) >> capability) & 1n;
    if (had === 1n && wants === 0n) caller.call('prctl', PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  caller.call('prctl', PR_SET_SECUREBITS, NO_SETUID_FIXUP, 0, 0, 0);
  caller.call('setresgid', groupIds[0] ?? 0, groupIds[1] ?? 0, groupIds[2] ?? 0);
  caller.call('setfsgid', groupIds[3] ?? 0);
  caller.call('setresuid', userIds[0] ?? 0, userIds[1] ?? 0, userIds[2] ?? 0);
  caller.call('setfsuid', userIds[3] ?? 0);
  caller.call('prctl', PR_SET_SECUREBITS, 0, 0, 0, 0);
  setCapabilities(caller, capabilities);
  // A change of credentials forbids core dumps and the owner's look into /proc/PID.
  caller.call('prctl', PR_SET_DUMPABLE, 1, 0, 0, 0);
}

function setCapabilities(caller: Caller, wanted: Credentials['capabilities']): void {
  const header = new Uint8Array(Uint32Array.of(CAPABILITY_VERSION, 0).buffer);
  const sets = [wanted.effective, wanted.permitted, wanted.inheritable].map(BigInt);
  const low = sets.map((set) => Number(set & 0xffff_ffffn));
  const high = sets.map((set) => Number(set >> 32n));
  const headerAddress = caller.writeScratch(header, 0);
  const dataAddress = caller.writeScratch(new Uint8Array(Uint32Array.from([...low, ...high]).buffer), 64);
  caller.call('capset', headerAddress, dataAddress);
  caller.tryCall('prctl', PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (let capability = 0n; capability <= HIGHEST_CAPABILITY; capability++) {
    if (((BigInt(wanted.ambient) >> capability) & 1n) === 0n) continue;
    caller.call('prctl', PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
  }
}

function isSame(left: Credentials, right: Credentials): boolean {
  const { noNewPrivileges: _left, ...mine } = left;
  const { noNewPrivileges: _right, ...other } = right;
  return JSON.stringify(normal(mine)) === JSON.stringify(normal(other));
}

function normal(credentials: Omit<Credentials, 'noNewPrivileges'>) {
  const { userIds, groupIds, supplementaryGroups, capabilities } = credentials;
  const { inheritable, permitted, effective, bounding, ambient } = capabilities;
  const sets = [inheritable, permitted, effective, bounding, ambient].map((set) => BigInt(set).toString());
  return [userIds, groupIds, [...supplementaryGroups].sort((a, b) => a - b), sets];
}
