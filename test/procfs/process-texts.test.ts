import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  parseDescriptorInfo,
  parseLimits,
  parseTaskDetails,
  parseTaskStatus,
  parseTimers,
  UNLIMITED,
} from '../../src/procfs/index.ts';

describe('stat as a whole', () => {
  // Fields 3 to 52, each worth 1000 and its number, but for those that have to be small.
  const fields = Array.from({ length: 50 }, (_, index) => String(1000 + index + 3));
  fields[0] = 'S';
  fields[16] = '-20';

  it('names fields by their places', () => {
    const details = parseTaskDetails(`77 (a) b) ${fields.join(' ')}\n`);
    expect(details).toMatchObject({
      name: 'a) b',
      parentPid: 1004,
      processGroup: 1005,
      session: 1006,
      terminalNumber: 1007,
      nice: -20,
      startTicks: 1022,
      code: { start: 1026n, end: 1027n },
      stack: 1028n,
      realtimePriority: 1040,
      policy: 1041,
      data: { start: 1045n, end: 1046n },
      startBrk: 1047n,
      arguments: { start: 1048n, end: 1049n },
      environment: { start: 1050n, end: 1051n },
    });
  });

  it('must not be cut', () => {
    expect(() => parseTaskDetails(`77 (a) ${fields.slice(0, 48).join(' ')}`)).toThrow(/too short/);
  });

  it('of this very process agrees with what Node knows', () => {
    const details = parseTaskDetails(readFileSync('/proc/self/stat', 'latin1'));
    expect(details.pid).toBe(process.pid);
    expect(details.code.end).toBeGreaterThan(details.code.start);
    expect(details.arguments.end).toBeLessThanOrEqual(details.environment.start);
  });
});

const STATUS = `Name:	a
Umask:	0027
State:	t (tracing stop)
Uid:	1000	1001	1002	1003
Gid:	100	101	102	103
Groups:	4 24 27 
SigQ:	1/96365
SigPnd:	0000000000000200
ShdPnd:	0000000200000000
SigBlk:	8000000000000800
SigIgn:	0000000000001000
SigCgt:	0000000180014a07
CapInh:	0000000000000001
CapPrm:	000001ffffffffff
CapEff:	000001ffffffffff
CapBnd:	000001ffffffffff
CapAmb:	0000000000000000
NoNewPrivs:	1
Seccomp:	2
`;

describe('status', () => {
  it('is read field by field', () => {
    expect(parseTaskStatus(STATUS)).toEqual({
      umask: 0o27,
      userIds: [1000, 1001, 1002, 1003],
      groupIds: [100, 101, 102, 103],
      supplementaryGroups: [4, 24, 27],
      capabilities: {
        inheritable: 1n,
        permitted: 0x1ffffffffffn,
        effective: 0x1ffffffffffn,
        bounding: 0x1ffffffffffn,
        ambient: 0n,
      },
      noNewPrivileges: true,
      seccompMode: 2,
      signals: {
        pending: 0x200n,
        sharedPending: 0x200000000n,
        blocked: 0x8000000000000800n,
        ignored: 0x1000n,
        caught: 0x180014a07n,
      },
    });
  });

  it('of older kernels lacks a few lines', () => {
    const older = STATUS.replaceAll(/^(?:Umask|CapAmb|NoNewPrivs|Seccomp):.*\n/gm, '');
    const status = parseTaskStatus(older);
    expect(status).toMatchObject({ umask: null, noNewPrivileges: false, seccompMode: 0 });
    expect(status.capabilities.ambient).toBe(0n);
  });

  it('without groups has none', () => {
    expect(parseTaskStatus(STATUS.replace(/Groups:.*/, 'Groups:\t ')).supplementaryGroups).toEqual([]);
  });

  it('must have what every kernel prints', () => {
    expect(() => parseTaskStatus(STATUS.replace('SigBlk', 'Blk'))).toThrow(/it has no SigBlk/);
  });
});

describe('limits', () => {
  it('are numbered as RLIMIT_* are', () => {
    const limits = parseLimits(readFileSync('/proc/self/limits', 'latin1'));
    expect(limits.map(({ resource }) => resource)).toEqual(Array.from({ length: 16 }, (_, index) => index));
    for (const { soft, hard } of limits) expect(soft).toBeLessThanOrEqual(hard);
  });

  it('may be unlimited on either side, and lack a unit', () => {
    const text = `Limit                     Soft Limit           Hard Limit           Units     
Max stack size            8388608              unlimited            bytes     
Max nice priority         0                    20                   
Max new kind of thing     1                    2                    things    
`;
    expect(parseLimits(text)).toEqual([
      { resource: 3, soft: 8388608n, hard: UNLIMITED },
      { resource: 13, soft: 0n, hard: 20n },
    ]);
  });
});

describe('fdinfo', () => {
  it('has the flag of the descriptor among those of the file', () => {
    expect(parseDescriptorInfo('pos:\t1024\nflags:\t02100002\nmnt_id:\t9\nino:\t77\n')).toEqual({
      position: '1024',
      flags: 0o100002,
      closeOnExec: true,
      details: [],
    });
  });

  it('keeps positions of 64 bits, and what only some kinds have', () => {
    const text =
      'pos:\t9223372036854775807\nflags:\t02\nmnt_id:\t15\nino:\t1\ntfd:        5 events:       19 data: 1  pos:0 ino:61 sdev:7\n';
    expect(parseDescriptorInfo(text)).toEqual({
      position: '9223372036854775807',
      flags: 2,
      closeOnExec: false,
      details: ['tfd: 5 events: 19 data: 1 pos:0 ino:61 sdev:7'],
    });
  });

  it('is nothing else', () => {
    expect(parseDescriptorInfo('')).toBeUndefined();
  });
});

describe('timers', () => {
  it('are read with their notifications', () => {
    const text = `ID: 0
signal: 34/00007ffc10a0beef
notify: signal/tid.4243
ClockID: 1
ID: 3
signal: 14/0000000000000007
notify: signal/pid.4242
ClockID: -22
ID: 4
signal: 0/0000000000000000
notify: none/pid.4242
ClockID: 0
`;
    expect(parseTimers(text)).toEqual([
      { id: 0, signal: 34, value: 0x7ffc10a0beefn, notify: 4, notifyId: 4243, clock: 1 },
      { id: 3, signal: 14, value: 7n, notify: 0, notifyId: 4242, clock: -22 },
      { id: 4, signal: 0, value: 0n, notify: 1, notifyId: 4242, clock: 0 },
    ]);
    expect(parseTimers('')).toEqual([]);
  });
});
