import { AddressSpace } from './address-space.ts';
import { accessPage } from './fault/access.ts';
import type { Machine } from './machine.ts';
import type { FileNode } from './memory/files.ts';
import { growHeap } from './syscalls/brk.ts';
import { VM } from './vma/flags.ts';
import { Vma } from './vma/vma.ts';

/** Layout of a small static program without address randomisation. */
const TEXT_PAGE = 0x400;
const TEXT_PAGES = 200;
const DATA_PAGES = 8;
const BSS_PAGES = 6;
const HEAP_GAP_PAGES = 1;
/** What libc takes of the heap before main. */
const LIBC_HEAP_PAGES = 34;
const STACK_TOP_PAGE = 0x7fffffffe + 1;
const STACK_PAGES = 33;
const VVAR_PAGE = 0x7ffff7ff9;
const VVAR_PAGES = 4;
const VDSO_PAGES = 2;

const MAY_ALL = VM.mayRead | VM.mayWrite | VM.mayExec;

/** Whether a machine has the program image yet; it is made at the first exec. */
function programImage(machine: Machine): FileNode {
  const known = machine.files.get('/program');
  if (known !== undefined) return known;
  const node = machine.createNode('/program', 'program', TEXT_PAGES + DATA_PAGES);
  machine.files.set('/program', node);
  return node;
}

/**
 * The address space of a program that has just begun: text, data, bss, heap, stack, vvar, vdso. Everything is
 * soft-dirty but the stack, whose flag is lost when exec settles its protection (only its pages are soft-dirty).
 */
export function newProgram(machine: Machine, pid: number): AddressSpace {
  const space = new AddressSpace(machine, pid);
  const image = machine.open(programImage(machine), false);
  const add = (start: number, pages: number, flags: number, offset: number, fromImage: boolean) => {
    const vma = new Vma(
      start,
      start + pages,
      flags | MAY_ALL | VM.softDirty,
      offset,
      fromImage ? image : null,
    );
    space.addMapping(vma);
    return vma;
  };
  const data = TEXT_PAGE + TEXT_PAGES;
  const bss = data + DATA_PAGES;
  add(TEXT_PAGE, TEXT_PAGES, VM.read | VM.exec, 0, true);
  add(data, DATA_PAGES, VM.read | VM.write | VM.account, TEXT_PAGES, true);
  add(bss, BSS_PAGES, VM.read | VM.write | VM.account, bss, false);
  space.startBreak = bss + BSS_PAGES + HEAP_GAP_PAGES;
  space.breakPage = space.startBreak + LIBC_HEAP_PAGES;
  growHeap(space, space.startBreak, space.breakPage);
  addKernelMappings(machine, space);
  const stackFlags = VM.read | VM.write | VM.growsDown | VM.account;
  const stackStart = STACK_TOP_PAGE - STACK_PAGES;
  const stack = new Vma(stackStart, STACK_TOP_PAGE, stackFlags | MAY_ALL, stackStart, null);
  space.addMapping(stack);
  space.stackPage = STACK_TOP_PAGE - 1;
  for (const page of [TEXT_PAGE, data, bss, space.startBreak, STACK_TOP_PAGE - 2, STACK_TOP_PAGE - 1]) {
    accessPage(space, page, page !== TEXT_PAGE);
  }
  return space;
}

/** vvar (which has no page structures) and vdso, as in install_special_mapping. */
function addKernelMappings(machine: Machine, space: AddressSpace): void {
  const { vvarHasPages } = machine.features;
  const vvar = new Vma(
    VVAR_PAGE,
    VVAR_PAGE + VVAR_PAGES,
    VM.read |
      VM.mayRead |
      VM.dontExpand |
      VM.dontDump |
      VM.softDirty |
      (vvarHasPages ? 0 : VM.io | VM.pfnMap),
    0,
    vvarHasPages ? machine.open(kernelImage(machine, '[vvar]', VVAR_PAGES), false) : null,
  );
  vvar.special = '[vvar]';
  space.addMapping(vvar);
  const start = VVAR_PAGE + VVAR_PAGES;
  const vdso = new Vma(
    start,
    start + VDSO_PAGES,
    VM.read | VM.exec | VM.mayRead | VM.mayExec | VM.mayWrite | VM.dontExpand | VM.softDirty,
    0,
    machine.open(kernelImage(machine, '[vdso]', VDSO_PAGES), false),
  );
  vdso.special = '[vdso]';
  space.addMapping(vdso);
}

/** Pages of the kernel that every process maps. */
function kernelImage(machine: Machine, name: string, pageCount: number): FileNode {
  const known = machine.files.get(name);
  if (known !== undefined) return known;
  const node = machine.createNode(name, 'program', pageCount);
  machine.files.set(name, node);
  return node;
}
