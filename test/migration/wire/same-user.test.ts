import { describe, expect, it } from 'vitest';
import { endpoint, ownerIn } from '../../../src/migration/wire/same-user.ts';

const HEAD =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';

/** A line as get_tcp4_sock prints it. */
const line = (local: string, remote: string, state: string, user: number, inode: number) =>
  `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000 ${String(user).padStart(5)}        0 ${inode} 1 0000000000000000 20 4 30 10 -1`;

const NEAR = endpoint('127.0.0.1', 8080);
const FAR = endpoint('127.0.0.1', 40000);

describe('the owner of a loopback connection', () => {
  it('is found by both of its ends', () => {
    const table = [
      HEAD,
      line('0100007F:1F90', '00000000:0000', '0A', 3, 11),
      line('0100007F:1F90', '0100007F:9C40', '01', 1, 12),
      line('0100007F:9C40', '0100007F:1F90', '01', 1000, 13),
    ].join('\n');
    expect(ownerIn(table, FAR, NEAR)).toBe(1000);
    expect(ownerIn(table, NEAR, FAR)).toBe(1);
    expect(ownerIn(table, endpoint('127.0.0.2', 40000), NEAR)).toBeUndefined();
  });

  it('is not taken from sockets that nobody holds, which the kernel shows as those of root', () => {
    expect(ownerIn(line(FAR, NEAR, '01', 0, 0), FAR, NEAR)).toBeUndefined();
    expect(ownerIn(line(FAR, NEAR, '06', 0, 0), FAR, NEAR)).toBeUndefined();
    expect(ownerIn(line(FAR, NEAR, '08', 1000, 13), FAR, NEAR)).toBeUndefined();
  });

  it('is found where an IPv6 socket carries IPv4', () => {
    const mapped = '0000000000000000FFFF0000';
    expect(ownerIn(line(`${mapped}${FAR}`, `${mapped}${NEAR}`, '01', 7, 13), FAR, NEAR)).toBe(7);
    expect(endpoint('::ffff:127.0.0.1', 8080)).toBe('0100007F:1F90');
    expect(endpoint('::1', 8080)).toBe('00000000000000000000000001000000:1F90');
  });
});
