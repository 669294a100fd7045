// A real terminal: a shell in tmux, keys sent to it, and what its screen shows.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { until } from './programs.ts';
import { MAIN } from './socktrace.ts';

const run = promisify(execFile);
const PROMPT = 'ready>';

export interface Size {
  columns: number;
  rows: number;
}

/** What is to be on the screen. */
type Wanted = string | RegExp | ((screen: string) => boolean);

export class Terminal {
  static #count = 0;
  readonly #socket = `socktrace-${process.pid}-${Terminal.#count++}`;

  /** @param env of the shell and of what it starts */
  static async open({ columns, rows }: Size, env: Record<string, string> = {}): Promise<Terminal> {
    const terminal = new Terminal();
    const variables = Object.entries({ PS1: `${PROMPT} `, ...env }).map(([name, value]) => `${name}=${value}`);
    const unset = ['-u', 'NO_COLOR', '-u', 'TMUX'];
    await terminal.#tmux(
      ...['-f', '/dev/null', '-u', 'new-session', '-d', '-x', `${columns}`, '-y', `${rows}`, 'env', ...unset],
      ...[...variables, 'bash', '--norc', '--noprofile'],
    );
    await terminal.shows(PROMPT);
    return terminal;
  }

  /** Types a command line that runs socktrace. */
  async socktrace(args: string, nodeArgs = ''): Promise<void> {
    await this.type(`'${process.execPath}' ${nodeArgs} '${MAIN}' ${args}; echo "status $?"`);
    await this.keys('Enter');
  }

  /** Characters as they are. */
  async type(text: string): Promise<void> {
    await this.#tmux('send-keys', '-l', text);
  }

  /** Keys by tmux's names for them. */
  async keys(...names: string[]): Promise<void> {
    await this.#tmux('send-keys', ...names);
  }

  async resize({ columns, rows }: Size): Promise<void> {
    await this.#tmux('resize-window', '-x', `${columns}`, '-y', `${rows}`);
  }

  /** The lines on the screen, without the blanks at their ends; with the codes of their colours if asked for. */
  async screen(...options: '-e'[]): Promise<string[]> {
    return (await this.#tmux('capture-pane', '-p', ...options)).split('\n').slice(0, -1);
  }

  /** Waits until the screen matches, and returns it. */
  async shows(what: Wanted): Promise<string> {
    let screen = '';
    const matches = (): boolean =>
      typeof what === 'string' ? screen.includes(what) : what instanceof RegExp ? what.test(screen) : what(screen);
    try {
      return await until(`the screen shows ${what}`, async () => {
        screen = (await this.screen()).join('\n');
        return matches() ? screen : null;
      });
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}; it shows\n${screen}`);
    }
  }

  /** The same of a screen that does not change any more: what is captured while it is drawn is half of one frame. */
  async comesToRest(what: Wanted): Promise<string> {
    let before = await this.shows(what);
    return until(`the screen with ${what} comes to rest`, async () => {
      const screen = await this.shows(what);
      const same = screen === before;
      before = screen;
      return same ? screen : null;
    });
  }

  /** Waits until a command has ended and the shell is back, the screen as it was, and returns what it printed last. */
  async isRestored(status: number): Promise<string> {
    const screen = await this.shows(new RegExp(`^status ${status}$`, 'm'));
    return until('the screen is restored', async () => {
      const { alternate, cursor, wrap } = await this.modes();
      return !alternate && cursor && wrap ? screen : null;
    });
  }

  async modes(): Promise<{ alternate: boolean; cursor: boolean; wrap: boolean }> {
    const flags = await this.#tmux('display-message', '-p', '#{alternate_on} #{cursor_flag} #{wrap_flag}');
    const [alternate, cursor, wrap] = flags
      .trim()
      .split(' ')
      .map((flag) => flag === '1');
    return { alternate: alternate === true, cursor: cursor === true, wrap: wrap === true };
  }

  /** Of the shell. */
  async pid(): Promise<number> {
    return Number(await this.#tmux('display-message', '-p', '#{pane_pid}'));
  }

  /** As if its window was closed. */
  async hangUp(): Promise<void> {
    await this.#tmux('kill-server').catch(() => {}); // it has ended already
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.hangUp();
  }

  async #tmux(...args: string[]): Promise<string> {
    const { stdout } = await run('tmux', ['-L', this.#socket, ...args]);
    return stdout;
  }
}
