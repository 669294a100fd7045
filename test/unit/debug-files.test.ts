import { describe, expect, it } from 'vitest';
import type { OfferedFile } from '../../src/kernel/binding.ts';
import type { CallFrame, CallPath } from '../../src/ledger/types.ts';
import { DebugFiles } from '../../src/session/debug-files.ts';
import type { Fetched } from '../../src/session/debuginfod.ts';

const FOUND: Fetched = { ok: true, folder: '/tmp/f', path: 'aa/debuginfo' };

function frame(buildId: string | null, line: number | null = null): CallFrame {
  return {
    function: 'f',
    module: `/usr/lib/lib${buildId}.so`,
    buildId,
    offset: '0x1',
    file: line === null ? null : 'f.c',
    line,
    how: 'cfi',
  };
}

function path(...frames: CallFrame[]): CallPath {
  return { id: 'p', quality: 'complete', notes: ['its own'], frames };
}

/** A fetcher and an unwinder that answer when, and as, they are told. */
class Both {
  readonly asked: string[] = [];
  readonly offered: string[] = [];
  readonly told: CallPath[] = [];
  readonly again: bigint[] = [];
  takes: OfferedFile = { is: 'taken' };
  readonly #answers = new Map<string, (fetched: Fetched) => void>();
  readonly files = new DebugFiles(
    {
      fetch: (buildId) => {
        this.asked.push(buildId);
        return new Promise((resolve) => this.#answers.set(buildId, resolve));
      },
    },
    {
      offerDebugFile: (buildId) => {
        if (this.takes.is === 'taken') this.offered.push(buildId);
        return this.takes;
      },
    },
    { tell: (told) => this.told.push(told), nameAgain: (id) => this.again.push(id) },
  );

  async comes(buildId: string, fetched: Fetched): Promise<void> {
    this.#answers.get(buildId)?.(fetched);
    // Whatever was waiting for it has run.
    await new Promise((resolve) => setImmediate(resolve));
    this.pump();
  }

  pump(debugFiles: { buildId: string; isRight: boolean }[] = [], unwinderPid = 7): void {
    this.files.take({ debugFiles, unwinderPid });
  }
}

describe('debugging information', () => {
  it('is asked for once, for modules with a build-id and without lines', () => {
    const both = new Both();
    both.files.named(1n, path(frame('aa'), frame('aa'), frame('bb', 5), frame(null)));
    both.files.named(2n, path(frame('aa'), frame('cc')));
    expect(both.asked).toEqual(['aa', 'cc']);
    expect(both.files.isSettled).toBe(false);
  });

  it('has the names of its paths asked for again, once all of it is there', async () => {
    const both = new Both();
    both.files.named(1n, path(frame('aa'), frame('bb')));
    await both.comes('aa', FOUND);
    both.pump([{ buildId: 'aa', isRight: true }]);
    expect(both.again).toEqual([]);
    await both.comes('bb', FOUND);
    both.pump([{ buildId: 'bb', isRight: true }]);
    expect(both.again).toEqual([1n]);
    expect(both.told).toEqual([]);
    expect(both.files.isSettled).toBe(true);
    // Named again: a function without lines is asked for no more.
    const named = path(frame('aa', 3), frame('aa'), frame('bb', 4));
    expect(both.files.named(1n, named)).toEqual(named);
    const useless = both.files.named(2n, path(frame('aa', 3), frame('bb')));
    expect(useless.notes).toEqual(['its own', 'debuginfod: no lines of libbb.so (none in what was fetched)']);
    expect(both.asked).toEqual(['aa', 'bb']);
  });

  it('that is not to be had is a note, one for each reason, also of paths that come later', async () => {
    const both = new Both();
    const lacking = path(frame('aa'), frame('bb'), frame('cc'));
    expect(both.files.named(1n, lacking)).toEqual(lacking);
    await both.comes('aa', { ok: false, reason: 'not found' });
    await both.comes('bb', { ok: false, reason: 'not found' });
    await both.comes('cc', FOUND);
    both.pump([{ buildId: 'cc', isRight: false }]);
    const notes = [
      'its own',
      'debuginfod: no lines of libaa.so, libbb.so (not found)',
      'debuginfod: no lines of libcc.so (what a server gave is no debugging information of this build: refused)',
    ];
    expect(both.told).toEqual([{ ...lacking, notes }]);
    expect(both.again).toEqual([]);
    expect(both.files.named(2n, lacking)).toEqual({ ...lacking, notes });
    expect(both.asked).toEqual(['aa', 'bb', 'cc']);
  });

  it('is offered again when the unwinder has no time, and not when the file is refused', async () => {
    const both = new Both();
    both.files.named(1n, path(frame('aa')));
    both.takes = { is: 'later' };
    await both.comes('aa', FOUND);
    both.pump();
    both.takes = { is: 'refused', reason: 'a symbolic link' };
    both.pump();
    expect(both.told.map(({ notes }) => notes.at(-1))).toEqual(['debuginfod: no lines of libaa.so (a symbolic link)']);
    both.takes = { is: 'taken' };
    both.pump();
    expect(both.offered).toEqual([]);
  });

  it('is offered to the next unwinder too, but not for ever', async () => {
    const both = new Both();
    both.files.named(1n, path(frame('aa')));
    await both.comes('aa', FOUND);
    for (const pid of [7, 8, 9]) both.pump([{ buildId: 'aa', isRight: true }], pid);
    both.pump([], -1);
    expect(both.offered).toEqual(['aa', 'aa', 'aa']);
    both.pump([{ buildId: 'aa', isRight: true }], 10);
    expect(both.offered).toHaveLength(3);
    expect(both.files.named(1n, path(frame('aa'))).notes.at(-1)).toContain('the unwinder died more than once');
  });

  it('that has not come at the end is a note, and is forgotten when it comes', async () => {
    const both = new Both();
    both.files.named(1n, path(frame('aa')));
    both.files.end();
    const note = 'debuginfod: no lines of libaa.so (no answer before the trace ended)';
    expect(both.told.map(({ notes }) => notes.at(-1))).toEqual([note]);
    await both.comes('aa', FOUND);
    expect(both.offered).toEqual([]);
    expect(both.files.isSettled).toBe(true);
    expect(both.files.named(2n, path(frame('bb'))).notes.at(-1)).toContain('libbb.so');
    expect(both.asked).toEqual(['aa']);
  });
});
