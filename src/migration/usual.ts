import { USUAL_COSTS } from './costs.ts';
import { TCP_SHARE } from './link.ts';
import type { PolicyName } from './outcome.ts';
import { CLARK_DEFAULTS } from './policies/clark.ts';
import { CRIU_DEFAULTS } from './policies/criu.ts';
import { FIXED_DEFAULTS } from './policies/fixed.ts';
import { XEN_DEFAULTS } from './policies/xen.ts';
import { QEMU_DEFAULTS } from './qemu/options.ts';
import { USUAL_SENDING } from './send/sending-costs.ts';

/** What a rehearsal takes for granted where it is told nothing else. */
export interface UsualParameters {
  readonly policies: Readonly<Record<PolicyName, object>>;
  readonly costs: object;
  readonly sending: object;
  /** Share of a link's line rate that carries bytes of the stream. */
  readonly tcpShare: number;
}

export const USUAL: UsualParameters = {
  policies: {
    qemu: QEMU_DEFAULTS,
    xen: XEN_DEFAULTS,
    clark: CLARK_DEFAULTS,
    phaul: CRIU_DEFAULTS,
    criu: CRIU_DEFAULTS,
    fixed: FIXED_DEFAULTS,
  },
  costs: USUAL_COSTS,
  sending: USUAL_SENDING,
  tcpShare: TCP_SHARE,
};
