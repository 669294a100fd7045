/** Ways into network namespaces, held open: the process by which one was found may end before it is entered. */
import { closeSync, openSync } from 'node:fs';

export class HeldWays implements Disposable {
  readonly #files = new Map<string, number>();

  /** @returns false when the process has ended, and there is no way by it any more */
  hold(path: string): boolean {
    try {
      this.#files.set(path, openSync(path, 'r'));
      return true;
    } catch (error) {
      // Out of descriptors: the path has to do.
      return !(error instanceof Error && 'code' in error && error.code === 'ENOENT');
    }
  }

  /** What to open instead of a path. */
  into(path: string): string {
    const file = this.#files.get(path);
    return file === undefined ? path : `/proc/self/fd/${file}`;
  }

  [Symbol.dispose](): void {
    for (const file of this.#files.values()) closeSync(file);
  }
}
