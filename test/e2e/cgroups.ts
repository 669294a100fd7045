// Cgroups of the tests' own, of whichever version this host has mounted.
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from './programs.ts';

/** Where cgroups of version 2, or of a controller of version 1, are mounted. */
function mounts(): { version2: string | null; of: (controller: string) => string | null } {
  const lines = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '));
  const find = (holds: (type: string, options: string[]) => boolean): string | null =>
    lines.find(([, , type = '', options = '']) => holds(type, options.split(',')))?.[1] ?? null;
  return {
    version2: find((type) => type === 'cgroup2'),
    of: (controller) => find((type, options) => type === 'cgroup' && options.includes(controller)),
  };
}

/** A cgroup that is removed when it is empty. */
export class Cgroup {
  static #made = 0;
  readonly #parent: string;
  readonly path: string;

  private constructor(parent: string) {
    this.#parent = parent;
    this.path = join(parent, `socktrace-test-${process.pid}-${Cgroup.#made++}`);
    mkdirSync(this.path);
  }

  /** One that has this file, in either version; null where none has. */
  static with(file: string, controller: string): Cgroup | null {
    const { version2, of } = mounts();
    for (const parent of [version2, of(controller)]) {
      if (parent === null) continue;
      const group = new Cgroup(parent);
      if (existsSync(join(group.path, file))) return group;
      rmdirSync(group.path);
    }
    return null;
  }

  get processes(): string {
    return join(this.path, 'cgroup.procs');
  }

  take(pid: number): void {
    writeFileSync(this.processes, String(pid));
  }

  giveBack(pid: number): void {
    writeFileSync(join(this.#parent, 'cgroup.procs'), String(pid));
  }

  read(file: string): string {
    return readFileSync(join(this.path, file), 'utf8').trim();
  }

  write(file: string, text: string): void {
    writeFileSync(join(this.path, file), text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await until('an empty cgroup', () => this.read('cgroup.procs') === '');
    rmdirSync(this.path);
  }
}
