import { posix } from 'node:path';
import { formatBytes, IntegrityError } from '../../../core/index.ts';
import type { TarMember } from './tar-reader.ts';

const MAX_MEMBERS = 100_000;
const MAX_NAME_BYTES = 4096;
const MAX_PART_BYTES = 255;

/** What a member becomes. */
export interface AdmittedMember {
  /** Relative to the archive's root, every part of it a plain name. */
  readonly name: string;
  readonly kind: 'file' | 'link' | 'directory';
  readonly mode: number;
  readonly bytes: number;
  readonly linkTarget: string;
}

/**
 * Decides which members of an archive are let in. Whoever made the archive may mean harm: nothing may come to lie
 * outside of the directory it is unpacked to, be reached through a link, replace another member, or take more room than
 * was granted.
 */
export class MemberRules {
  readonly #archive: string;
  readonly #maxBytes: number;
  readonly #isStored: boolean;
  readonly #kinds = new Map<string, AdmittedMember['kind']>();
  /** Directories that no member has named yet. */
  readonly #implied = new Set<string>();
  #bytes = 0;

  /** @param isStored whether the archive has its files as they are, so that it cannot unpack to more than it is long */
  constructor(archive: string, maxBytes: number, isStored: boolean) {
    this.#archive = archive;
    this.#maxBytes = maxBytes;
    this.#isStored = isStored;
  }

  /**
   * What becomes of a member; undefined for the root directory itself.
   * @throws IntegrityError naming the member and what is wrong with it.
   */
  admit(member: TarMember): AdmittedMember | undefined {
    const name = this.#nameOf(member);
    const kind = this.#kindOf(member);
    if (name === '' && kind === 'directory') return undefined;
    if (name === '') throw this.#refused(member, 'it has no name');
    const isImplied = this.#implied.delete(name) && kind === 'directory';
    if (this.#kinds.has(name) && !isImplied) throw this.#refused(member, 'it is there twice');
    if (this.#kinds.size >= MAX_MEMBERS)
      throw this.#refused(member, `there are more than ${MAX_MEMBERS} members`);
    this.#implyAbove(member, name);
    if (kind === 'link') this.#refuseLinkOutside(member, name);
    this.#grantRoom(member, kind);
    this.#kinds.set(name, kind);
    const { mode, bytes, linkTarget } = member;
    return { name, kind, mode, bytes, linkTarget };
  }

  /** Whether a directory was let in, or anything in it. */
  hasDirectory(name: string): boolean {
    return this.#kinds.get(name) === 'directory';
  }

  #nameOf(member: TarMember): string {
    const { name } = member;
    if (name.startsWith('/')) throw this.#refused(member, 'its path is absolute');
    // What is not UTF-8 was replaced by this character when the header was read.
    if (name.includes('\ufffd')) throw this.#refused(member, 'its name is not UTF-8');
    const parts = name.split('/').filter((part) => part !== '' && part !== '.');
    if (parts.includes('..')) throw this.#refused(member, 'its path leads upwards');
    if (
      Buffer.byteLength(name) > MAX_NAME_BYTES ||
      parts.some((part) => Buffer.byteLength(part) > MAX_PART_BYTES)
    ) {
      throw this.#refused(member, 'its name is longer than a file system takes');
    }
    return parts.join('/');
  }

  #kindOf(member: TarMember): AdmittedMember['kind'] {
    switch (member.kind) {
      case 'file':
      case 'directory':
        return member.kind;
      case 'symbolic link':
        return 'link';
      default:
        throw this.#refused(
          member,
          `it is a ${member.kind}, which no container engine puts there`,
          member.kind === 'sparse file' ? 'pack the archive again without --sparse' : undefined,
        );
    }
  }

  /** Directories above a member come into being with it, and must be directories. */
  #implyAbove(member: TarMember, name: string): void {
    for (let above = posix.dirname(name); above !== '.'; above = posix.dirname(above)) {
      const kind = this.#kinds.get(above);
      if (kind === 'directory') return;
      if (kind !== undefined) throw this.#refused(member, `${above} is a ${kind}, not a directory`);
      this.#kinds.set(above, 'directory');
      this.#implied.add(above);
    }
  }

  #refuseLinkOutside(member: TarMember, name: string): void {
    const { linkTarget } = member;
    if (linkTarget === '') throw this.#refused(member, 'it is a link to nothing');
    if (linkTarget.includes('\ufffd')) throw this.#refused(member, 'its link is not UTF-8');
    const resolved = posix.normalize(posix.join(posix.dirname(name), linkTarget));
    const leadsOut =
      linkTarget.startsWith('/') ||
      resolved === '..' ||
      resolved.startsWith('../') ||
      // Upwards from what may itself be a link.
      /[^./][^/]*\/+(\.\/+)*\.\.(\/|$)/.test(linkTarget);
    if (leadsOut) throw this.#refused(member, `it is a link that leads outside, to ${quoted(linkTarget)}`);
  }

  #grantRoom(member: TarMember, kind: AdmittedMember['kind']): void {
    if (kind !== 'file' && member.bytes > 0) throw this.#refused(member, `it is a ${kind} with content`);
    this.#bytes += member.bytes;
    if (this.#bytes <= this.#maxBytes) return;
    throw new IntegrityError(
      `${this.#archive} is refused: with ${quoted(member.name)} it unpacks to ${formatBytes(this.#bytes)}, more than ${formatBytes(this.#maxBytes)}`,
      {
        hint: this.#isStored
          ? 'it is not compressed: more cannot be in it, and it may have been cut off'
          : 'if you trust the archive, allow more with --max-unpacked',
        data: { file: this.#archive, member: member.name, offsetBytes: member.offsetBytes },
      },
    );
  }

  #refused(member: TarMember, why: string, hint?: string): IntegrityError {
    const { name, offsetBytes } = member;
    return new IntegrityError(
      `${this.#archive} is refused: member ${quoted(name)} at offset ${offsetBytes} of its tar: ${why}`,
      {
        ...(hint === undefined ? {} : { hint }),
        data: { file: this.#archive, member: name, offsetBytes },
      },
    );
  }
}

const MOST_QUOTED = 120;

/** A hostile text in a message. */
function quoted(text: string): string {
  return JSON.stringify(text.length > MOST_QUOTED ? `${text.slice(0, MOST_QUOTED)}…` : text);
}
