import { describe, expect, it } from 'vitest';
import { MissingError, tryFeature, UntriedError } from '../../src/target/feature.ts';
import { SystemCallError } from '../../src/target/native/errno.ts';

const REMEDIES = { EPERM: 'be root', otherwise: 'take another kernel' };
const tryWith = (trial: () => string | Promise<string>) => tryFeature('kcmp', 'kcmp', REMEDIES, trial);

function throwing(error: unknown): () => never {
  return () => {
    throw error;
  };
}

describe('a trial of a feature', () => {
  it('that succeeds says how', async () => {
    const expected = { id: 'kcmp', name: 'kcmp', state: 'works', found: 'it was told' };
    expect(await tryWith(async () => 'it was told')).toEqual(expected);
  });

  it('that the kernel refuses gets the remedy for the errno', async () => {
    const refused = await tryWith(throwing(new SystemCallError('kcmp', 'EPERM')));
    expect(refused).toMatchObject({ state: 'missing', found: 'kcmp failed: EPERM', remedy: 'be root' });
    const unknown = await tryWith(throwing(new SystemCallError('kcmp', 'ENOSYS')));
    expect(unknown.remedy).toBe('take another kernel');
  });

  it('that a file refuses names the file', async () => {
    const error = Object.assign(new Error('EPERM: no'), {
      code: 'EPERM',
      syscall: 'open',
      path: '/proc/1/mem',
    });
    expect(await tryWith(throwing(error))).toMatchObject({
      found: 'open of /proc/1/mem failed: EPERM',
      remedy: 'be root',
    });
  });

  it('that finds nothing, or could not be made, is told apart', async () => {
    expect(await tryWith(throwing(new MissingError('nothing there')))).toMatchObject({
      state: 'missing',
      found: 'nothing there',
    });
    const untried = await tryWith(throwing(new UntriedError('needs native calls')));
    expect(untried).toEqual({ id: 'kcmp', name: 'kcmp', state: 'untried', found: 'needs native calls' });
  });

  it('never throws, whatever goes wrong', async () => {
    expect(await tryWith(throwing('a string'))).toMatchObject({ state: 'missing', found: 'a string' });
    expect(await tryWith(() => Promise.reject(new TypeError('a bug\nwith a trace')))).toMatchObject({
      found: 'a bug',
    });
  });
});
