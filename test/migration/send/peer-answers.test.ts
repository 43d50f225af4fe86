import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { PageRangeList, PeerError } from '../../../src/core/index.ts';
import { PeerAnswers } from '../../../src/migration/send/peer-answers.ts';
import { channelPair } from '../wire/channel-pair.ts';

const ranges = PageRangeList.of({ startPage: 5, endPage: 6 });

describe('what the destination says', () => {
  it('is all taken by whoever waits for it, however much comes at once', async () => {
    const [here, there] = channelPair();
    const answers = new PeerAnswers(here);
    const saying = (async () => {
      for (let pid = 1; pid <= 1000; pid++) await there.send({ type: 'request-pages', pid, ranges });
    })();
    for (let pid = 1; pid <= 1000; pid++) {
      expect((await answers.either('request-pages', 'ready')) as unknown).toMatchObject({ pid });
    }
    await saying;
    expect(answers.failed.aborted).toBe(false);
    here.abort(new Error('done'));
  });

  it('is not kept without end where nobody waits for it', async () => {
    const [here, there] = channelPair();
    const answers = new PeerAnswers(here);
    for (let pid = 1; pid <= 1000; pid++) await there.send({ type: 'request-pages', pid, ranges });
    if (!answers.failed.aborted) await once(answers.failed, 'abort');
    expect(answers.failed.reason).toBeInstanceOf(PeerError);
    expect(answers.failed.reason.message).toContain('more than it was asked for');
    here.abort(new Error('done'));
  });
});
