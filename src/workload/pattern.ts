import type { Random } from '../core/index.ts';
import type { PatternDefinition } from './model.ts';
import { Permutation } from './permutation.ts';
import { ZipfDistribution } from './zipf.ts';

/**
 * The pages that a stream touches, one after the other, as numbers inside its span. Besides the stream's generator a
 * pattern has no state: what it draws follows from the generator and from how many draws came before, which is what a
 * checkpoint keeps.
 */
export interface Pattern {
  /**
   * Draws `count` pages into `pages`, each plus `offset`.
   * @param drawn how many draws the stream has made before.
   */
  draw(pages: Float64Array, count: number, offset: number, drawn: number, random: Random): void;
}

/** A pattern over `spanPages` pages (at least one). `seed` decides where hot pages lie. */
export function createPattern(definition: PatternDefinition, spanPages: number, seed: number): Pattern {
  switch (definition.kind) {
    case 'uniform':
      return uniformPattern(spanPages);
    case 'zipf':
      return zipfPattern(definition, spanPages, seed);
    case 'hot-cold':
      return hotColdPattern(definition, spanPages, seed);
    case 'strided':
      return stridedPattern(definition.stridePages, spanPages);
    case 'sequential':
    case 'rewrite-in-place':
    case 'append':
      return steppingPattern(definition.writesPerPage, spanPages);
  }
}

function uniformPattern(spanPages: number): Pattern {
  return {
    draw(pages, count, offset, _drawn, random) {
      for (let index = 0; index < count; index++) pages[index] = offset + random.nextBelow(spanPages);
    },
  };
}

function zipfPattern(definition: PatternDefinition, spanPages: number, seed: number): Pattern {
  const distribution = new ZipfDistribution(spanPages, definition.theta);
  const place = definition.spread ? new Permutation(spanPages, seed) : undefined;
  return {
    draw(pages, count, offset, _drawn, random) {
      for (let index = 0; index < count; index++) {
        const rank = distribution.draw(random);
        pages[index] = offset + (place === undefined ? rank : place.at(rank));
      }
    },
  };
}

function hotColdPattern(definition: PatternDefinition, spanPages: number, seed: number): Pattern {
  const hotPages = Math.min(spanPages, Math.max(1, Math.round(spanPages * definition.hotFraction)));
  const coldPages = spanPages - hotPages;
  const hotBelow = coldPages === 0 ? 1 : definition.hotProbability;
  const place = definition.spread ? new Permutation(spanPages, seed) : undefined;
  return {
    draw(pages, count, offset, _drawn, random) {
      for (let index = 0; index < count; index++) {
        const hot = random.nextFraction() < hotBelow;
        const rank = hot ? random.nextBelow(hotPages) : hotPages + random.nextBelow(coldPages);
        pages[index] = offset + (place === undefined ? rank : place.at(rank));
      }
    },
  };
}

/** `writesPerPage` writes to each page in turn, then from the start again. */
function steppingPattern(writesPerPage: number, spanPages: number): Pattern {
  return {
    draw(pages, count, offset, drawn) {
      let page = Math.floor(drawn / writesPerPage) % spanPages;
      let left = writesPerPage - (drawn % writesPerPage);
      for (let index = 0; index < count; index++) {
        pages[index] = offset + page;
        if (--left === 0) {
          left = writesPerPage;
          page = page + 1 === spanPages ? 0 : page + 1;
        }
      }
    },
  };
}

/** Every stride-th page; each time around begins one page further, until all have had their turn. */
function stridedPattern(stridePages: number, spanPages: number): Pattern {
  const stride = Math.min(stridePages, spanPages);
  const visitsOfLane = (lane: number) => Math.ceil((spanPages - lane) / stride);
  const longLanes = spanPages % stride === 0 ? stride : spanPages % stride;
  const longVisits = visitsOfLane(0);
  const beforeShort = longLanes * longVisits;
  return {
    draw(pages, count, offset, drawn) {
      for (let index = 0; index < count; index++) {
        const turn = (drawn + index) % spanPages;
        // Lanes 0..longLanes-1 have one page more than the others.
        const inLong = turn < beforeShort;
        const visits = inLong ? longVisits : longVisits - 1;
        const rest = inLong ? turn : turn - beforeShort;
        const lane = Math.floor(rest / visits) + (inLong ? 0 : longLanes);
        pages[index] = offset + lane + (rest % visits) * stride;
      }
    },
  };
}
