import type { MessageFields } from '../images/messages.ts';
import type { DumpImages } from './dump-images.ts';

/** The terminals of a dump (criu/tty.c): names, and of which session each is the controlling one. */
export class Terminals {
  readonly #byId: ReadonlyMap<number, MessageFields>;

  private constructor(byId: ReadonlyMap<number, MessageFields>) {
    this.#byId = byId;
  }

  /** @throws IntegrityError */
  static async read(images: DumpImages): Promise<Terminals> {
    const entries = await images.entries('tty-info', 'TTY_INFO');
    return new Terminals(new Map(entries.map((entry) => [entry.number('id'), entry])));
  }

  /** The path of a terminal by its id; undefined if it is not known. */
  path(id: number): string | undefined {
    const terminal = this.#byId.get(id);
    return terminal === undefined ? undefined : pathOf(terminal);
  }

  /** The controlling terminal of a session; undefined without one. */
  ofSession(session: number): string | undefined {
    if (session === 0) return undefined;
    for (const terminal of this.#byId.values()) {
      if (terminal.number('sid') !== session) continue;
      // Asked at the master, the kernel names the session that the other side of the pair controls.
      return pairPath(terminal) ?? pathOf(terminal);
    }
    return undefined;
  }
}

/** Major of masters of pseudoterminals since Unix 98: 5:2, whatever their number (Documentation/admin-guide/devices.txt). */
const MASTER_DEVICE = (5 << 8) | 2;

function isMaster(terminal: MessageFields): boolean {
  return terminal.number('rdev') === MASTER_DEVICE;
}

/** The side of a pseudoterminal that programs run on; undefined for other terminals. */
function pairPath(terminal: MessageFields): string | undefined {
  const index = terminal.message('pty')?.number('index');
  return index === undefined ? undefined : `/dev/pts/${index}`;
}

function pathOf(terminal: MessageFields): string {
  const device = terminal.number('rdev');
  const minor = (device & 0xff) | ((device >>> 12) & 0xfff00);
  switch (terminal.optionalLabel('type')) {
    case 'PTY':
      return isMaster(terminal) ? '/dev/ptmx' : (pairPath(terminal) ?? `/dev/pts/${minor}`);
    case 'CONSOLE':
      return '/dev/console';
    case 'VT':
      return `/dev/tty${minor}`;
    case 'SERIAL':
      return `/dev/ttyS${minor - 64}`;
    case 'CTTY':
      return '/dev/tty';
    default:
      return 'terminal';
  }
}
