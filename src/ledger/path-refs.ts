/** References to call paths. What a capture led to may be known only after its socket was told of. */
import { compareText } from './order.ts';
import type { PathRef } from './types.ts';

/** A string that equal path references share and different ones do not. */
export function pathKey(path: PathRef | null): string {
  if (path === null) return '-';
  if (path.status === 'resolved') return `=${path.id}`;
  return path.status === 'unavailable' ? `?${path.reason}` : path.status;
}

/** Of two references to one and the same capture, the one that says more, whichever was told last. */
export function betterKnown<T extends PathRef | null>(a: T, b: T): T {
  return rank(b) - rank(a) > 0 || (rank(b) === rank(a) && compareText(pathKey(b), pathKey(a)) < 0) ? b : a;
}

/** Whether it is known which code these paths are. A socket that was never bound has no path to know. */
export function isCodeKnown({ openPath, bindPath }: { openPath: PathRef; bindPath: PathRef | null }): boolean {
  return openPath.status === 'resolved' && (bindPath === null || bindPath.status === 'resolved');
}

function rank(path: PathRef | null): number {
  if (path === null) return 0;
  if (path.status === 'pending') return 1;
  return path.status === 'resolved' ? 3 : 2;
}
