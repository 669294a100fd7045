// The puppet's own truth, held against what the kernel says by other ways. No socktrace here: what these tests
// establish is that the other host tests may believe the puppet.
import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { heldSockets, heldTcpSockets, sockstat, ssStates } from './oracle.ts';
import { Puppet } from './puppet.ts';

const families = ['v4', 'v6'] as const;

const hashedOf = ({ inuse, inuse6 }: { inuse: number; inuse6: number }) => inuse + inuse6;
const ascending = (numbers: readonly number[] | undefined) => [...(numbers ?? [])].sort((a, b) => a - b);

/** `used` of the puppet's own namespace counts every socket there: exact, whatever else runs on the host. */
async function usedBy(puppet: Puppet, act: () => Promise<unknown>): Promise<number> {
  const before = await sockstat(puppet.pid);
  await act();
  return (await sockstat(puppet.pid)).used - before.used;
}

/** A puppet with `count` connections: groups `listener`, `client` and `served`. */
async function connected(family: string, count: number): Promise<Puppet> {
  const puppet = await Puppet.start({ netns: true });
  await puppet.commands(`open listener ${family} 1`, 'bind listener zero', `listen listener ${count}`);
  await puppet.commands(`open client ${family} ${count}`, 'connect client lo @listener');
  await puppet.command(`accept listener served ${count}`);
  return puppet;
}

describe.each(families)('sockets of %s', (family) => {
  it('open, close and dup: descriptors and inodes', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const own = await heldSockets(puppet.pid);
    expect(await usedBy(puppet, () => puppet.command(`open a ${family} 30`))).toBe(30);
    expect(await usedBy(puppet, () => puppet.command('dup a b'))).toBe(0);
    const { inodes, ports, states } = await puppet.stats('a');
    expect(states).toEqual({ CLOSE: 30 });
    expect(new Set(ports)).toEqual(new Set([0]));
    expect((await puppet.stats('b')).inodes).toEqual(inodes);
    expect(ascending((await heldTcpSockets(puppet.pid)).unhashed)).toEqual(ascending(inodes));
    expect(await heldSockets(puppet.pid)).toHaveLength(own.length + 60);
    expect(await usedBy(puppet, () => puppet.command('close a'))).toBe(0);
    expect(await usedBy(puppet, () => puppet.command('close b'))).toBe(-30);
    expect(await ssStates(puppet.pid)).toEqual({});
  });

  it('bind: any port, one port, consecutive ports, and no port left', async () => {
    await using puppet = await Puppet.start({ netns: true });
    await puppet.command('port-range 40000 40009');
    const any = await puppet.commands(`open any ${family} 13`, 'bind any zero');
    expect(any).toMatchObject({ count: 10, errors: { EADDRINUSE: 3 } });
    expect(ascending(any.ports)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((offset) => 40000 + offset));
    const one = await puppet.commands(`open one ${family} 3`, 'bind one 7000');
    expect(one).toMatchObject({ count: 1, errors: { EADDRINUSE: 2 }, ports: [7000] });
    const next = await puppet.commands(`open next ${family} 3`, 'bind next 6999+');
    expect(next).toMatchObject({ count: 2, errors: { EADDRINUSE: 1 }, ports: [6999, 7001] });
    const shared = await puppet.commands(`open shared ${family} 3`, 'reuseport shared', 'bind shared 7100');
    expect(shared).toMatchObject({ count: 3, errors: {}, ports: [7100, 7100, 7100] });
    const elsewhere = await puppet.commands(
      `open elsewhere ${family} 1`,
      `bind elsewhere zero ${family === 'v4' ? '192.0.2.1' : '2001:db8::1'}`,
    );
    expect(elsewhere).toMatchObject({ count: 0, errors: { EADDRNOTAVAIL: 1 }, ports: [] });
    // Bound sockets are in no hash table.
    const held = await heldTcpSockets(puppet.pid);
    expect(held.hashed).toEqual([]);
    expect(held.unhashed).toHaveLength(13 + 3 + 3 + 3 + 1);
  });

  it('noport: bind(0) takes no port', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const { ports } = await puppet.commands(`open a ${family} 3`, 'noport a', 'bind a zero');
    expect(ports).toEqual([0, 0, 0]);
  });

  it('listen, connect, accept, send, recv: established on both sides', async () => {
    await using puppet = await connected(family, 20);
    const before = await sockstat(puppet.pid);
    expect(hashedOf(before)).toBe(41);
    expect(family === 'v4' ? before.inuse6 : before.inuse).toBe(0);
    expect(await ssStates(puppet.pid)).toEqual({ LISTEN: 1, ESTAB: 40 });
    const held = await heldTcpSockets(puppet.pid);
    expect([held.hashed.length, held.unhashed.length]).toEqual([41, 0]);
    const [listener, client, served] = [
      await puppet.stats('listener'),
      await puppet.stats('client'),
      await puppet.stats('served'),
    ];
    expect(new Set(served.ports)).toEqual(new Set(listener.ports));
    expect(new Set(client.ports).size).toBe(20);
    expect(await puppet.command('send client 100')).toMatchObject({ count: 20, bytes: 2000 });
    expect(await puppet.command('recv served')).toMatchObject({ count: 20, bytes: 2000, eof: 0, errors: {} });
  });

  it('close-wait: the peer closes', async () => {
    await using puppet = await connected(family, 10);
    await puppet.commands('close served', 'wait-state client CLOSE_WAIT');
    expect(await ssStates(puppet.pid)).toEqual({ LISTEN: 1, 'CLOSE-WAIT': 10 });
    expect(await puppet.command('recv client')).toMatchObject({ count: 0, eof: 10 });
  });

  it('reset: the peer resets', async () => {
    await using puppet = await connected(family, 10);
    await puppet.commands('reset served', 'wait-state client CLOSE');
    expect(await ssStates(puppet.pid)).toEqual({ LISTEN: 1 });
    expect(ascending((await heldTcpSockets(puppet.pid)).unhashed)).toEqual(
      ascending((await puppet.stats('client')).inodes),
    );
    expect(await puppet.command('recv client')).toMatchObject({ count: 0, errors: { ECONNRESET: 10 } });
  });

  it('shutdown and take: half closed both ways', async () => {
    await using puppet = await connected(family, 10);
    expect(await puppet.command('take client 4 half')).toMatchObject({ count: 4 });
    expect(await puppet.command('shutdown half wr')).toMatchObject({ count: 4 });
    await puppet.command('wait-state half FIN_WAIT2');
    expect(await ssStates(puppet.pid)).toEqual({ LISTEN: 1, ESTAB: 12, 'FIN-WAIT-2': 4, 'CLOSE-WAIT': 4 });
  });

  it('connect: refused, unspecified, not blocking', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const refused = await puppet.commands(`open refused ${family} 5`, 'connect refused lo 9');
    expect(refused).toMatchObject({ count: 0, errors: { ECONNREFUSED: 5 } });
    await puppet.commands(`open later ${family} 5`, 'connect later lo 9 nonblock');
    expect(await puppet.command('poll-connect later')).toMatchObject({ count: 0, errors: { ECONNREFUSED: 5 } });

    await puppet.commands(`open listener ${family} 1`, 'bind listener zero', 'listen listener 0');
    await puppet.commands(`open first ${family} 1`, 'connect first lo @listener');
    // The queue (backlog + 1) is full: SYNs are dropped.
    const pending = await puppet.commands(`open pending ${family} 3`, 'connect pending lo @listener nonblock');
    expect(pending).toMatchObject({ count: 0, errors: { EINPROGRESS: 3 } });
    expect(await puppet.command('poll-connect pending 50')).toMatchObject({ count: 0, errors: { EINPROGRESS: 3 } });
    expect(await ssStates(puppet.pid)).toEqual({ LISTEN: 1, ESTAB: 1, 'SYN-SENT': 3 });

    expect(await puppet.command('connect-unspec first')).toMatchObject({ count: 1 });
    expect(await puppet.stats('first')).toMatchObject({ states: { CLOSE: 1 } });
    // Now there is room for one of them: what it accepts first is the connection that is gone.
    expect(await puppet.command('accept listener served 1')).toMatchObject({ count: 1 });
  });

  it('uring-open: with and without descriptors', async () => {
    await using puppet = await Puppet.start({ netns: true });
    expect(await usedBy(puppet, () => puppet.command(`uring-open ${family} 8 plain`))).toBe(8);
    expect(await usedBy(puppet, () => puppet.command(`uring-open ${family} 8 worker async`))).toBe(8);
    const held = (await heldTcpSockets(puppet.pid)).all.length;
    expect(held).toBe(16);
    expect(await usedBy(puppet, () => puppet.command(`uring-open ${family} 8 hidden direct`))).toBe(8);
    expect((await heldTcpSockets(puppet.pid)).all).toHaveLength(held);
    expect(await puppet.stats('hidden')).toEqual({ count: 8, direct: true });
    await expect(puppet.command('bind hidden zero')).rejects.toThrow('no descriptors');
    expect(await usedBy(puppet, () => puppet.command('close hidden'))).toBe(-8);
  });

  it('churn: everything it opened is closed again', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const expected = {
      openclose: { opened: 500, bound: 0, connected: 0, accepted: 0 },
      openbindclose: { opened: 500, bound: 500, connected: 0, accepted: 0 },
      healthy: { opened: 501, bound: 1, connected: 500, accepted: 500 },
      'reset-storm': { opened: 501, bound: 1, connected: 500, accepted: 500 },
    };
    for (const [mode, counts] of Object.entries(expected)) {
      const used = await usedBy(puppet, async () => {
        const answer = await puppet.command(`churn 500 ${family} ${mode}`);
        expect(answer).toMatchObject({ count: 500, errors: {}, ...counts });
      });
      expect(used).toBe(0);
    }
    expect((await heldTcpSockets(puppet.pid)).all).toEqual([]);
    const { tw } = await sockstat(puppet.pid);
    expect(tw).toBe(500); // of `healthy`, and none of the resets
    await puppet.command(`churn-thread 300 ${family} healthy`);
    await puppet.command(`churn-thread 1000000000 ${family} openclose`);
    const stopped = await puppet.command('churn-stop');
    expect(stopped.opened).toBe(stopped.count + 1);
    await puppet.command(`churn-thread 300 ${family} healthy`);
    expect(await puppet.command('churn-wait')).toMatchObject({ count: 300, opened: 301, accepted: 300 });
  });
});

describe('processes', () => {
  it('fork: the child shares descriptors, and keeps what the parent closes', async () => {
    await using puppet = await Puppet.start({ netns: true });
    await puppet.command('open a v4 10');
    const { child, pid } = await puppet.command('fork');
    expect(child).toBe(1);
    expect((await puppet.command('child 1 self')).pid).toBe(pid);
    const { inodes } = await puppet.stats('a');
    expect(ascending((await heldTcpSockets(pid ?? 0)).all)).toEqual(ascending(inodes));
    expect(await usedBy(puppet, () => puppet.command('close a'))).toBe(0);
    expect((await heldTcpSockets(puppet.pid)).all).toEqual([]);
    expect(await usedBy(puppet, () => puppet.command('child 1 close a'))).toBe(-10);
    expect(await puppet.command('child 1 exit')).toMatchObject({ exitCode: 0 });
    await expect(puppet.command('child 1 self')).rejects.toThrow('child 1 has ended');
    await puppet.command('fork');
    expect(await puppet.command('child 2 abort')).toMatchObject({ signal: 9 });
  });

  it('fork of a fork: commands are relayed all the way', async () => {
    await using puppet = await Puppet.start({ netns: true });
    await puppet.commands('fork', 'child 1 fork');
    const grandchild = await puppet.command('child 1 child 1 self');
    await puppet.command('child 1 child 1 open deep v6 3');
    expect((await heldTcpSockets(grandchild.pid ?? 0)).all).toHaveLength(3);
  });

  it('exec: the same process and descriptors, another program image', async () => {
    await using puppet = await Puppet.start({ netns: true });
    await puppet.commands('open a v4 5', 'bind a zero', 'fork');
    const before = await puppet.stats('a');
    expect(await puppet.command('exec')).toMatchObject({ pid: puppet.pid, netns: puppet.netns });
    expect(await readFile(`/proc/${puppet.pid}/cmdline`, 'utf8')).toContain('--resume');
    expect(await puppet.stats('a')).toEqual(before);
    await puppet.command('child 1 exec');
    expect((await puppet.command('child 1 stats a')).groups?.['a']).toEqual(before);
  });

  it('thread: the same process, another thread', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const { pid, tid } = await puppet.command('thread self');
    expect(pid).toBe(puppet.pid);
    expect(tid).not.toBe(puppet.pid);
    expect(await puppet.commands('thread open a v4 5', 'thread bind a zero')).toMatchObject({ count: 5 });
    expect((await heldTcpSockets(puppet.pid)).all).toHaveLength(5);
  });

  it('send-fd: in flight nobody holds them, then another process does', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const { pid = 0 } = await puppet.command('fork');
    await puppet.command('open a v4 600');
    expect(await usedBy(puppet, () => puppet.command('send-fd a child 1 close'))).toBe(0);
    expect((await heldTcpSockets(puppet.pid)).all).toEqual([]);
    expect((await heldTcpSockets(pid)).all).toEqual([]);
    expect(await puppet.command('child 1 recv-fd got parent')).toMatchObject({ count: 600 });
    expect((await heldTcpSockets(pid)).all).toHaveLength(600);
    expect(await puppet.command('child 1 send-fd got parent')).toMatchObject({ count: 600 });
    expect(await puppet.command('recv-fd back child 1')).toMatchObject({ count: 600 });
    expect((await heldTcpSockets(puppet.pid)).all).toHaveLength(600);
    await puppet.commands('open own v4 5', 'send-fd own self close');
    expect((await puppet.stats('own')).count).toBe(0);
    expect(await puppet.command('recv-fd own self')).toMatchObject({ count: 5 });
  });

  it('unshare-net, setuid, fd-limit', async () => {
    await using puppet = await Puppet.start();
    // The range that is there already: should the refusal ever fail, nothing changes for anybody.
    const range = (await readFile('/proc/sys/net/ipv4/ip_local_port_range', 'utf8')).trim();
    await expect(puppet.command(`port-range ${range.replace(/\s+/, ' ')}`)).rejects.toThrow('unshare-net first');
    const host = puppet.netns;
    await puppet.command('unshare-net');
    expect(puppet.netns).not.toBe(host);
    await puppet.command('setuid 65534');
    expect(await puppet.command('self')).toMatchObject({ uid: 65534 });
    expect(await puppet.commands('open low v4 1', 'bind low 80')).toMatchObject({ errors: { EACCES: 1 } });
    await puppet.command('fd-limit 20');
    const { count, errors } = await puppet.command('open a v4 40');
    expect(errors).toEqual({ EMFILE: 40 - count });
    expect((await heldSockets(puppet.pid)).length).toBeLessThanOrEqual(20);
  });
});

describe('what is not plain TCP', () => {
  it('udp and unix sockets are nothing of TCP', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const own = await heldSockets(puppet.pid);
    await puppet.commands(
      'open u v4 1',
      'open d udp4 4',
      'bind d zero',
      'open e udp6 4',
      'bind e zero',
      'open x unix 4',
    );
    const held = await heldTcpSockets(puppet.pid);
    expect(held.all).toEqual((await puppet.stats('u')).inodes);
    expect(await heldSockets(puppet.pid)).toHaveLength(own.length + 13);
  });

  it('mptcp: a connection of its own, over TCP', async () => {
    await using puppet = await connected('mptcp4', 3);
    expect(await puppet.command('send client 10')).toMatchObject({ count: 3 });
    expect(await puppet.command('recv served')).toMatchObject({ count: 3, bytes: 30 });
    expect(hashedOf(await sockstat(puppet.pid))).toBe(7); // the TCP below: a listener and both ends
  });
});

describe('the driver', () => {
  it('tells what the puppet refuses', async () => {
    await using puppet = await Puppet.start();
    await expect(puppet.command('dance')).rejects.toThrow('puppet: "dance": no command "dance"');
    await expect(puppet.command('bind a')).rejects.toThrow('usage: bind GROUP');
    await expect(puppet.command('bind a zero')).rejects.toThrow('no group "a"');
    await expect(puppet.command('open a ipx 1')).rejects.toThrow('no family "ipx"');
    await expect(puppet.command('open a v4 many')).rejects.toThrow('"many" is not a number');
    expect((await puppet.command('help')).commands).toContain('exec');
    expect(await puppet.command('stats')).toMatchObject({ count: 0, groups: {} });
  });

  it('ends with the puppet, in each way', async () => {
    for (const end of ['exit', 'abort'] as const) {
      await using puppet = await Puppet.start({ netns: true });
      await puppet.commands('open a v4 5', end);
      expect(puppet.ended).toBe(true);
      await expect(puppet.command('self')).rejects.toThrow('it has ended');
    }
    await using killed = await Puppet.start();
    await killed.kill();
    await expect(killed.command('self')).rejects.toThrow('signal SIGKILL');
    await using expired = await Puppet.start({ env: { PUPPET_LIFETIME: '1' } });
    const waiting = expired.commands('open a v4 1', 'bind a zero', 'listen a 1', 'accept a b 1');
    await expect(waiting).rejects.toThrow('signal SIGALRM');
  });

  it('gives up on a command that takes too long', async () => {
    await using puppet = await Puppet.start({ netns: true, timeoutMs: 300 });
    await puppet.commands('open a v4 1', 'bind a zero', 'listen a 1');
    await expect(puppet.command('accept a b 1')).rejects.toThrow('no answer to "accept a b 1" within 300 ms');
  });

  it('takes its children along', async () => {
    const puppet = await Puppet.start();
    const { pid } = await puppet.command('fork');
    await puppet.close();
    await expect(readFile(`/proc/${pid}/comm`)).rejects.toThrow('ENOENT');
  });
});
