/** Colours only where a person looks: on a terminal, unless NO_COLOR is set (no-color.org). */
import type { WriteStream } from 'node:tty';
import { ANSI, PLAIN, type Style } from '../render/style.ts';

export function styleFor(stream: WriteStream | NodeJS.WriteStream): Style {
  return stream.isTTY && (process.env['NO_COLOR'] ?? '') === '' ? ANSI : PLAIN;
}
