import { readFileSync } from 'node:fs';
import type { LiveProcessState } from '../live-state-format.ts';
import type { SocketStates } from './plan-files.ts';

/** States of TCP in /proc/net/tcp (include/net/tcp_states.h). */
const TCP_CLOSE = '07';
const TCP_LISTEN = '0A';
/** State of a connected socket in /proc/net/unix (include/uapi/linux/net.h). */
const UNIX_CONNECTED = '03';
/** SO_ACCEPTCON in the flags there. */
const UNIX_LISTENING = 0x10000;

/** How the sockets of processes stand, as their network namespaces tell (proc(5), /proc/net). */
export function readSocketStates(processes: readonly LiveProcessState[]): SocketStates {
  const states = new Map<string, 'listening' | 'unconnected' | 'connected'>();
  for (const { pid, files } of processes) {
    if (!files.some(({ kind }) => kind === 'socket')) continue;
    for (const name of ['tcp', 'tcp6', 'udp', 'udp6', 'udplite', 'raw', 'raw6']) {
      for (const fields of rows(pid, name)) states.set(fields[9] ?? '', internetState(fields[3] ?? ''));
    }
    for (const fields of rows(pid, 'unix')) states.set(fields[6] ?? '', unixState(fields));
    // Sockets of the kernel and of the wire have no peer.
    for (const fields of rows(pid, 'netlink')) states.set(fields[9] ?? '', 'unconnected');
    for (const fields of rows(pid, 'packet')) states.set(fields[8] ?? '', 'unconnected');
  }
  return states;
}

/** Lines of one table, without its heading, in columns. */
function rows(pid: number, name: string): string[][] {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/net/${name}`, 'latin1');
  } catch {
    return []; // This kernel has no such sockets.
  }
  return text
    .split('\n')
    .slice(1)
    .filter((line) => line !== '')
    .map((line) => line.trim().split(/\s+/));
}

function internetState(state: string): 'listening' | 'unconnected' | 'connected' {
  if (state === TCP_LISTEN) return 'listening';
  return state === TCP_CLOSE ? 'unconnected' : 'connected';
}

/** Columns: slot, references, protocol, flags, type, state, inode. */
function unixState(fields: readonly string[]): 'listening' | 'unconnected' | 'connected' {
  if ((Number.parseInt(fields[3] ?? '0', 16) & UNIX_LISTENING) !== 0) return 'listening';
  return fields[5] === UNIX_CONNECTED ? 'connected' : 'unconnected';
}
