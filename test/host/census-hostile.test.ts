// A census of a host where processes and network namespaces come and go all the time: what stays is counted exactly.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { Census } from '../../src/accounting/census.ts';
import { classify, classOf } from '../../src/accounting/classes.ts';
import { portsOf } from '../../src/accounting/ports.ts';
import { readBootId } from '../../src/procfs/boot.ts';
import { readCensus } from '../../src/session/census.ts';
import { counts, socketsOf, takeCensus } from './census-cases.ts';
import { Puppet } from './puppet.ts';

const LOOKS = 15;

function look(): Census {
  const bootId = readBootId();
  if (bootId.status === 'unavailable') throw new Error(bootId.reason);
  return readCensus(bootId.value, 1);
}

/** With what is unplaced, the classes are always the kernel's count. */
function expectSum(census: Census): void {
  const { classes, unplaced, alloc } = classify(census);
  if (unplaced.status === 'unavailable') throw new Error(unplaced.reason);
  const sum = classes.reduce((all, { count }) => all + count, 0);
  expect(alloc).toEqual({ status: 'measured', value: sum + unplaced.value });
}

/** Processes that make a network namespace each, with a listener in it, and end. */
class NamespaceStorm implements AsyncDisposable {
  static readonly #SCRIPT = `import os, socket
print('ready', flush=True)
while True:
    pid = os.fork()
    if pid == 0:
        os.unshare(os.CLONE_NEWNET)
        listener = socket.create_server(('0.0.0.0', 80))
        os._exit(0)
    os.waitpid(pid, 0)
`;
  readonly #child = spawn('unshare', ['--net', '--map-root-user', 'python3', '-c', NamespaceStorm.#SCRIPT]);
  readonly #ended = once(this.#child, 'close');

  async ready(): Promise<void> {
    await Promise.race([once(this.#child.stdout, 'data'), this.#ended]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

describe('a census meanwhile', () => {
  it('processes fork and exit: the sockets that stay, once each, with the holder that stays', async () => {
    await using puppet = await Puppet.start({ netns: true });
    await puppet.commands('open g v4 200', 'bind g zero', 'open u v6 300', 'open l v4 1', 'bind l 80', 'listen l 64');
    await puppet.commands('open c v4 20', 'connect c lo 80', 'reset c');
    const { fds } = await puppet.stats('g');
    for (let i = 0; i < 2; i++) await puppet.command('churn-thread 1000000000 v4 forks');
    let vanishing = 0;
    for (let i = 0; i < LOOKS; i++) {
      const census = look();
      expectSum(census);
      const sockets = socketsOf(census, puppet);
      const stay = sockets.filter(({ holders }) => holders.some(({ pid }) => pid === puppet.pid));
      expect(counts(stay, classOf)).toEqual({ 'closed-bound': 200, closed: 300, listening: 1 });
      const bound = stay.filter(({ port }) => port !== null && port !== 80);
      const own = bound.flatMap(({ holders }) => holders.filter(({ pid }) => pid === puppet.pid));
      expect(own.map(({ fd }) => fd).sort((a, b) => a - b)).toEqual(fds);
      for (const { holders } of sockets) {
        const names = holders.map(({ process, fd }) => `${process} ${fd}`);
        expect(new Set(names).size).toBe(names.length);
      }
      vanishing += new Set(sockets.flatMap(({ holders }) => holders.map(({ pid }) => pid))).size - 1;
      expect(sockets.filter((socket) => classOf(socket) === 'unaccepted-reset')).toHaveLength(20);
      expect(portsOf(census).find(({ netns }) => netns === puppet.netns)?.inUse).toBe(201);
    }
    // Else there was no storm.
    expect(vanishing).toBeGreaterThan(0);
    expect((await puppet.command('churn-stop')).count).toBeGreaterThan(0);
    expect(counts(socketsOf(takeCensus(), puppet), classOf)).toEqual({
      'closed-bound': 200,
      closed: 300,
      listening: 1,
      'unaccepted-reset': 20,
    });
  });

  it('network namespaces come and go: those that stay are walked, and nothing that is gone was overlooked', async () => {
    await using puppet = await Puppet.start({ netns: true });
    await puppet.commands('open l v4 1', 'bind l 80', 'listen l 64', 'open c v4 20', 'connect c lo 80');
    await using storm = new NamespaceStorm();
    await storm.ready();
    const seen = new Set<number>();
    for (let i = 0; i < LOOKS; i++) {
      const census = look();
      expectSum(census);
      expect(counts(socketsOf(census, puppet), classOf)).toEqual({ listening: 1, connected: 20, unaccepted: 20 });
      for (const { inode } of census.namespaces) seen.add(inode);
      // Only of a namespace that a socket was found in, and that ended before it was entered.
      for (const what of census.unseen)
        if (what.startsWith('hashed sockets of'))
          expect(what).toMatch(/^hashed sockets of network namespace \d+: no way/);
    }
    expect(seen.size).toBeGreaterThan(2);
  });

  it('the process by which a namespace was found ends, and another stays in it', async () => {
    await using puppet = await Puppet.start({ netns: true });
    await puppet.commands('open l v4 1', 'bind l 80', 'listen l 64', 'fork');
    const child = (await puppet.command('child 1 self')).pid as number;
    const holders = () => socketsOf(look(), puppet).flatMap((socket) => socket.holders.map(({ pid }) => pid));
    expect(holders().sort((a, b) => a - b)).toEqual([puppet.pid, child]);
    await puppet.command('child 1 exit');
    expect(holders()).toEqual([puppet.pid]);
  });
});
