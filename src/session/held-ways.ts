/** Ways into network namespaces, held open: the process by which one was found may end before it is entered. */
import { closeSync, openSync } from 'node:fs';
import { KernelError, openSocketNamespace } from '../kernel/binding.ts';
import type { NamespacePath } from '../procfs/net-namespaces.ts';

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

  /**
   * By a socket of a namespace that no process is in.
   * @returns null when the descriptor leads elsewhere by now, or the process may not be looked into
   */
  holdBySocket(inode: number, { pid, fd }: { pid: number; fd: number }): NamespacePath | null {
    try {
      const opened = openSocketNamespace(pid, fd);
      const path = `/proc/${pid}/fd/${fd}`;
      if (opened.inode !== inode || this.#files.has(path)) {
        closeSync(opened.descriptor);
        return null;
      }
      this.#files.set(path, opened.descriptor);
      return { inode, path };
    } catch (error) {
      if (error instanceof KernelError) return null;
      throw error;
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
