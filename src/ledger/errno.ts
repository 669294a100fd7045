/** Linux errno numbers by name. */
import { constants } from 'node:os';

/** Two names share a number on Linux; reports use the one that the manual pages of socket calls use. */
const PREFERRED = ['EAGAIN', 'EOPNOTSUPP'];

/** Numbers that Node does not list, and that socket calls return. */
const UNLISTED: Readonly<Record<number, string>> = {
  94: 'ESOCKTNOSUPPORT',
  96: 'EPFNOSUPPORT',
  108: 'ESHUTDOWN',
  112: 'EHOSTDOWN',
};

const NAMES = new Map<number, string>(Object.entries(UNLISTED).map(([number, name]) => [Number(number), name]));
for (const [name, number] of Object.entries(constants.errno)) {
  if (!NAMES.has(number) || PREFERRED.includes(name)) NAMES.set(number, name);
}

/** The name of a positive errno: `EADDRINUSE`; `E<number>` when Linux has no name for it. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? `E${errno}`;
}
