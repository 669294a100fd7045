/** Colours only where a person looks: on a terminal, unless NO_COLOR is set (no-color.org). */
import type { WriteStream } from 'node:tty';
import { ANSI, PLAIN, type Style } from '../render/style.ts';
import { commandName } from './command-name.ts';

export function styleFor(stream: WriteStream | NodeJS.WriteStream): Style {
  const emphasis = stream.isTTY && (process.env['NO_COLOR'] ?? '') === '' ? ANSI : PLAIN;
  return { ...emphasis, command: commandName() };
}
