// A session as the library opens it, in a process that goes on.
import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { Session } from '../../src/session/session.ts';
import { Puppet } from './puppet.ts';
import { sessionOptions } from './tracing.ts';

/** Pids of the children that this process has, zombies too. */
function children(): string[] {
  return readdirSync('/proc/self/task').flatMap((tid) =>
    readFileSync(`/proc/self/task/${tid}/children`, 'utf8').split(' ').filter(Boolean),
  );
}

const commOf = (pid: string): string => readFileSync(`/proc/${pid}/comm`, 'utf8').trimEnd();

it('what fails while it is opened leaves no helper process', async () => {
  await using puppet = await Puppet.start();
  const before = children();
  let running: string[] = [];
  const open = (): Session =>
    Session.open(sessionOptions([puppet.pid]), {
      input: ({ type }) => {
        if (type !== 'process') return;
        running = children().map(commOf);
        throw new Error('no room for this');
      },
    });
  expect(open).toThrow('no room for this');
  // Arguments had been read, so there was one for them.
  expect(running).toContain('socktrace-args');
  expect(children()).toEqual(before);
});
