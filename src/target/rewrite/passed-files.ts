import { TargetError } from '../../core/index.ts';
import type { Native } from '../native/calls.ts';
import type { Injector } from '../native/injector.ts';
import type { Vma } from '../view.ts';
import type { MappedFiles } from './execute-mappings.ts';
import type { ObjectFiles } from './object-files.ts';
import { DescriptorPassage } from './pass-descriptor.ts';

/** Mapped files that are handed into a process as they are needed, and taken away again. */
export class PassedFiles implements MappedFiles {
  readonly #native: Native;
  readonly #injector: Injector;
  readonly #pid: number;
  readonly #objects: ObjectFiles;
  /** By our own descriptors. */
  readonly #passed = new Map<number, number>();
  #passage: DescriptorPassage | undefined;

  constructor(native: Native, injector: Injector, pid: number, objects: ObjectFiles) {
    this.#native = native;
    this.#injector = injector;
    this.#pid = pid;
    this.#objects = objects;
  }

  descriptorFor(vma: Vma): number {
    const ours = this.#objects.descriptor(vma);
    if (ours === undefined) {
      throw new TargetError(`${vma.pathname} cannot be mapped again: it is not open`, {
        data: { pid: this.#pid },
      });
    }
    const known = this.#passed.get(ours);
    if (known !== undefined) return known;
    this.#passage ??= new DescriptorPassage(this.#native, this.#injector, this.#pid);
    const passed = this.#passage.pass(ours);
    this.#passed.set(ours, passed);
    return passed;
  }

  /** Takes the descriptors away; mappings do not need them any more. */
  close(): void {
    for (const descriptor of this.#passed.values()) this.#injector.call('close', descriptor);
    this.#passed.clear();
    this.#passage?.close();
    this.#passage = undefined;
  }
}
