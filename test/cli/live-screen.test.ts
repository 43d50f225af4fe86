import { EventEmitter } from 'node:events';
import { describe, expect, it } from 'vitest';
import { isScreen, LiveScreen } from '../../src/cli/live-screen.ts';

class Terminal extends EventEmitter {
  readonly isTTY = true;
  columns = 20;
  rows = 4;
  shown = '';

  write(text: string | Uint8Array): void {
    this.shown += String(text);
  }
}

class Keyboard extends EventEmitter {
  readonly isTTY = true;
  raw = false;
  reading = false;

  setRawMode(raw: boolean): void {
    this.raw = raw;
  }

  resume(): void {
    this.reading = true;
  }

  pause(): void {
    this.reading = false;
  }
}

function open() {
  const terminal = new Terminal();
  const keyboard = new Keyboard();
  const pressed: string[] = [];
  const screen = new LiveScreen(terminal, keyboard, {
    onQuit: () => pressed.push('quit'),
    onInterrupt: () => pressed.push('interrupt'),
  });
  return { terminal, keyboard, pressed, screen };
}

const HIDE = '\x1b[?25l';
const SHOW = '\x1b[?25h';

describe('a live screen', () => {
  it('draws lines in place, cut at the edges, and again when the terminal changes its size', () => {
    const { terminal, screen } = open();
    expect(terminal.shown).toContain(HIDE);
    terminal.shown = '';
    screen.show((columns, rows) => [`${columns}x${rows}`, 'x'.repeat(99), 'c', 'd', 'below']);
    expect(terminal.shown).toBe(`\x1b[H20x4\x1b[K\r\n${'x'.repeat(20)}\x1b[K\r\nc\x1b[K\r\nd\x1b[K\x1b[J`);
    terminal.shown = '';
    terminal.columns = 30;
    terminal.rows = 5;
    terminal.emit('resize');
    expect(terminal.shown).toContain(`30x5\x1b[K\r\n${'x'.repeat(30)}\x1b[K`);
    expect(terminal.shown).toContain('below');
    screen.close();
  });

  it('tells of q and Ctrl-C, and of no other key', () => {
    const { keyboard, pressed, screen } = open();
    expect([keyboard.raw, keyboard.reading]).toEqual([true, true]);
    for (const key of ['x', '\x1b[A', 'q', '\x03']) keyboard.emit('data', Buffer.from(key));
    expect(pressed).toEqual(['quit', 'interrupt']);
    screen.close();
  });

  it('gives the terminal back once, however it ends', () => {
    const { terminal, keyboard, screen } = open();
    screen.show(() => ['view']);
    const listeners = process.listeners('exit');
    // What runs when the process leaves in the middle of it.
    for (const listener of listeners.slice(-1)) (listener as (code: number) => void)(0);
    screen.close();
    expect(terminal.shown.split(SHOW)).toHaveLength(2);
    expect(terminal.shown.endsWith('\x1b[?1049l')).toBe(true);
    expect([keyboard.raw, keyboard.reading]).toEqual([false, false]);
    const { shown } = terminal;
    terminal.emit('resize');
    keyboard.emit('data', 'q');
    screen.show(() => ['late']);
    expect(terminal.shown).toBe(shown);
    expect(process.listeners('exit')).toHaveLength(listeners.length - 1);
  });

  it('is for terminals that know their size and can move the cursor', () => {
    const terminal = new Terminal();
    expect(isScreen(terminal, { TERM: 'xterm' })).toBe(true);
    expect(isScreen(terminal, { TERM: 'dumb' })).toBe(false);
    terminal.columns = 0;
    expect(isScreen(terminal, { TERM: 'xterm' })).toBe(false);
    expect(isScreen({ write: () => {} }, { TERM: 'xterm' })).toBe(false);
  });
});
