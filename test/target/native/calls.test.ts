import { describe, expect, it } from 'vitest';
import { ARCHITECTURES } from '../../../src/target/native/architecture.ts';
import { decodeWaitStatus } from '../../../src/target/native/calls.ts';
import { errnoName, SystemCallError } from '../../../src/target/native/errno.ts';
import { Registers } from '../../../src/target/native/registers.ts';
import { interruptedCall, restartable, withRestartDone } from '../../../src/target/native/restart.ts';

function inCall(number: number, result: number): Registers {
  const registers = new Registers(ARCHITECTURES.x86_64, new Uint8Array(27 * 8));
  registers.set('orig_rax', number);
  registers.result = result;
  registers.set('rip', 0x1002);
  return registers;
}

const noCode = (_: bigint, length: number) => new Uint8Array(length);

describe('what wait tells', () => {
  it.each([
    [0x80057f, { kind: 'stopped', signal: 5, event: 128 }],
    [0x80137f, { kind: 'stopped', signal: 19, event: 128 }],
    [0x857f, { kind: 'stopped', signal: 0x85, event: 0 }],
    [0x0b7f, { kind: 'stopped', signal: 11, event: 0 }],
    [0x0300, { kind: 'exited', code: 3 }],
    [0x0009, { kind: 'killed', signal: 9 }],
    [0x008b, { kind: 'killed', signal: 11 }],
  ])('%i is understood', (status, expected) => {
    expect(decodeWaitStatus(status)).toEqual(expected);
  });
});

describe('errors of system calls', () => {
  it('name the call, the errno and the way out', () => {
    const error = new SystemCallError('ptrace SEIZE of thread 17', 'EPERM', 17);
    expect(error.message).toBe('ptrace SEIZE of thread 17 failed: EPERM');
    expect(error.hint).toContain('CAP_SYS_PTRACE');
    expect(error.data).toEqual({ call: 'ptrace SEIZE of thread 17', errno: 'EPERM', pid: 17 });
    expect(errnoName(3)).toBe('ESRCH');
    expect(errnoName(4000)).toBe('errno 4000');
  });
});

describe('interrupted system calls', () => {
  it('restart when a stop ended them with EINTR', () => {
    const epoll = inCall(232, -4);
    expect(restartable(epoll)).toBe(true);
    expect(epoll.result).toBe(-514n);
    expect(interruptedCall(epoll)).toBe(232);
  });

  it.each([
    ['one that may have done something', 1 /* write */, -4],
    ['one that succeeded', 232, 3],
    ['one that the kernel restarts', 35 /* nanosleep */, -516],
    ['code that is in no call', -1, -4],
  ])('are left alone: %s', (_, number, result) => {
    const registers = inCall(number, result);
    expect(restartable(registers)).toBe(false);
    expect(registers.result).toBe(BigInt(result));
  });

  it.each([-512, -513, -514, -516])('are made again by a thread that returns by itself (%i)', (code) => {
    const again = withRestartDone(inCall(35, code), noCode);
    expect(again.get('rax')).toBe(35n);
    expect(again.get('rip')).toBe(0x1000n);
  });

  it.each([
    ['was interrupted again', inCall(219, -516)],
    ['was about to go on', inCall(35, 219)],
  ])('are found again in the code when restart_syscall %s', (_, registers) => {
    const isAhead = registers.result === 219n;
    const call = isAhead ? 0x1002n : 0x1000n;
    const code = Uint8Array.of(0xb8, 230, 0, 0, 0, 0x0f, 0x05);
    const readCode = (address: bigint, length: number) =>
      address === call - 5n ? code.slice(0, length) : new Uint8Array(length);
    const again = withRestartDone(registers, readCode);
    expect(again.get('rax')).toBe(230n);
    expect(again.get('rip')).toBe(call);
    expect(withRestartDone(registers, noCode).get('rax')).toBe(219n);
  });

  it('end with EINTR on aarch64, where their first argument is lost', () => {
    const registers = new Registers(ARCHITECTURES.aarch64, new Uint8Array(34 * 8));
    registers.result = -516;
    expect(withRestartDone(registers, noCode).result).toBe(-4n);
  });

  it('are not made again when they are complete', () => {
    expect(withRestartDone(inCall(35, 0), noCode).get('rip')).toBe(0x1002n);
    expect(withRestartDone(inCall(-1, -512), noCode).get('rip')).toBe(0x1002n);
  });
});

describe('registers', () => {
  it('keep words as they are, unsigned', () => {
    const registers = new Registers(ARCHITECTURES.x86_64, new Uint8Array(27 * 8));
    registers.set('r15', -1);
    registers.set('gs', 0x1234n);
    expect(registers.get('r15')).toBe(0xffff_ffff_ffff_ffffn);
    expect(registers.bytes.slice(26 * 8, 26 * 8 + 2)).toEqual(Uint8Array.of(0x34, 0x12));
    const copy = registers.copy();
    copy.set('r15', 1);
    expect(registers.get('r15')).toBe(0xffff_ffff_ffff_ffffn);
  });

  it('of a 32-bit thread are refused', () => {
    expect(() => new Registers(ARCHITECTURES.x86_64, new Uint8Array(17 * 4))).toThrow(/64-bit/);
  });
});
