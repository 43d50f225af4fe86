import { describe, expect, it } from 'vitest';
import {
  POLICY_NAMES,
  QEMU_DEFAULTS,
  USUAL,
  USUAL_COSTS,
  USUAL_SENDING,
} from '../../../src/migration/index.ts';
import { rehearsalParameters } from '../../../src/report/index.ts';

const LINK = { bytesPerSecond: 1e9 };

describe('rehearsalParameters', () => {
  it('names everything that a rehearsal takes for granted, whatever the policy', () => {
    for (const policy of POLICY_NAMES) {
      const parameters = rehearsalParameters({ link: LINK, choice: { policy } }, USUAL);
      expect(parameters.filter(({ usual }) => usual !== undefined)).toEqual([]);
      expect(parameters.filter(({ group }) => group === 'Costs')).toHaveLength(
        Object.keys(USUAL_COSTS).length + 1,
      );
      for (const { value } of parameters) expect(value).not.toMatch(/NaN|undefined|object|Infinity/);
    }
    const qemu = rehearsalParameters({ link: LINK, choice: { policy: 'qemu' } }, USUAL);
    const own = qemu.filter(({ group }) => group === 'Policy qemu');
    expect(own).toHaveLength(Object.keys(QEMU_DEFAULTS).length + 1);
  });

  it('names what sending costs where ckpt sends', () => {
    const again = [{ microseconds: 1e6, share: 0.25, unchanged: 0.125 }];
    const sending = { ...USUAL_SENDING, again, lookMicroseconds: 4321 };
    const parameters = rehearsalParameters({ link: LINK, choice: { policy: 'xen' }, sending }, USUAL);
    const own = parameters.filter(({ group }) => group === 'Sending by ckpt migrate');
    expect(own).toHaveLength(Object.keys(USUAL_SENDING).length);
    expect(own.filter(({ usual }) => usual !== undefined).map(({ name, value }) => [name, value])).toEqual([
      ['again', '1.00 s, share 25 %, unchanged 12.5 %'],
      ['look', '4.3 ms'],
    ]);
    expect(own.find(({ name }) => name === 'first')?.value).toBe('as sampled');
  });

  it('says what is usual where something else was chosen', () => {
    const parameters = rehearsalParameters(
      {
        link: {
          ...LINK,
          roundTripMicroseconds: 1500,
          loss: 0.015,
          profile: [{ atMicroseconds: 1e7, ...LINK }],
        },
        choice: {
          policy: 'qemu',
          options: {
            downtimeLimitMicroseconds: 50_000,
            postcopyAfter: { rounds: 2 },
            maxBandwidth: 0,
            xbzrle: true,
          },
        },
        costs: { stateBytes: 50_000, compressNanosecondsPerByte: { zstd: 2, zlib: 16 } },
        giveUpAfterMicroseconds: 9e6,
      },
      USUAL,
    );
    const find = (name: string) => parameters.find((parameter) => parameter.name === name);
    expect(find('downtime-limit')).toMatchObject({ value: '50.0 ms', usual: '300 ms' });
    expect(find('postcopy-after')).toMatchObject({ value: 'rounds 2', usual: 'no' });
    expect(find('max-bandwidth')).toMatchObject({ value: 'no limit', usual: '1.1 Gbit/s' });
    expect(find('xbzrle')).toMatchObject({ value: 'yes', usual: 'no' });
    expect(find('state')).toMatchObject({ value: '48.8 KiB', usual: '97.7 KiB' });
    expect(find('compress zstd')).toMatchObject({
      value: '2.00 ns for each byte',
      usual: '1.30 ns for each byte',
    });
    expect(find('compress zlib')).toEqual({
      group: 'Costs',
      name: 'compress zlib',
      value: '16.00 ns for each byte',
    });
    expect(find('round-trip')?.value).toBe('1.5 ms');
    expect(find('loss')?.value).toBe('1.5 %');
    expect(find('gives up')?.value).toBe('after 9.00 s');
    expect(find('bandwidth')?.value).toMatch(/^8\.\d Gbit\/s, from 10\.0 s on 8\.\d Gbit\/s$/);
  });
});
