// On a host where much is going on in several network namespaces, the census says what the kernel says by other ways:
// ss, sockstat, inet_diag, /proc/PID/fd and lsof.
import { execFile } from 'node:child_process';
import { readdir, readlink } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Census, CensusSocket } from '../../src/accounting/census.ts';
import { classify, classOf } from '../../src/accounting/classes.ts';
import { portsOf } from '../../src/accounting/ports.ts';
import type { TcpState } from '../../src/ledger/types.ts';
import { readBootId } from '../../src/procfs/boot.ts';
import { readCensus } from '../../src/session/census.ts';
import { CENSUS_CASES } from './census-cases.ts';
import { notRun } from './not-run.ts';
import { sockstat } from './oracle.ts';
import { Puppet } from './puppet.ts';

const run = promisify(execFile);
const MOST_TRIES = 30;

/** What is made in one namespace, of both families at once; groups and ports of each case are its own. */
const CASES = ['v4', 'v6'].flatMap((family, far) =>
  CENSUS_CASES.map(({ commands }, i) =>
    commands.map((command) =>
      command
        .replaceAll('%f', family)
        .replace(/\b20000\b/, String(20_000 + 100 * far + i))
        // Groups have a letter, or "far" and the like never here.
        .replace(/^(\S+) (\w+)/, `$1 $2-${family}-${i}`)
        .replace(/^(accept \S+) (\w+)/, `$1 $2-${family}-${i}`),
    ),
  ),
);

/** One with everything, one with a little, and one in the namespace of the host. */
let puppets: Puppet[];
let all: Puppet;
let host: Puppet;

beforeAll(async () => {
  all = await Puppet.start({ netns: true });
  for (const command of CASES.flat()) await all.command(command);
  // TIME_WAIT, which is no socket and holds a port.
  await all.command('churn 20 v4 healthy');
  const some = await Puppet.start({ netns: true });
  await some.commands('open g v4 9', 'bind g zero', 'open u v6 4', 'dup g again', 'fork');
  host = await Puppet.start();
  await host.commands('open g v6 7', 'bind g zero', 'open l v6 1', 'bind l zero', 'listen l 8');
  await host.commands('open c v6 3', 'connect c lo @l', 'accept l s 3');
  puppets = [all, some, host];
});

afterAll(async () => {
  for (const puppet of puppets) await puppet.close();
});

/** A census with what another way says, at a time when nothing came or went: others of this host may be at work. */
async function beside<T>(other: () => Promise<T>): Promise<{ census: Census; said: T }> {
  const bootId = readBootId();
  if (bootId.status === 'unavailable') throw new Error(bootId.reason);
  for (let tries = 1; ; tries++) {
    const before = await other();
    const census = readCensus(bootId.value);
    const said = await other();
    const { unplaced } = classify(census);
    const still = unplaced.status === 'measured' && unplaced.value === 0;
    if (still && JSON.stringify(before) === JSON.stringify(said)) return { census, said };
    if (tries === MOST_TRIES) throw new Error(`this host never stands still: ${JSON.stringify(unplaced)} unplaced`);
  }
}

function inNamespace({ pid }: Puppet, ...command: string[]): Promise<string> {
  return run('nsenter', [`--net=/proc/${pid}/ns/net`, ...command], { maxBuffer: 64 << 20 }).then(
    ({ stdout }) => stdout,
  );
}

const each = <T>(ask: (puppet: Puppet) => Promise<T>): Promise<T[]> => Promise.all(puppets.map(ask));

const of = <T extends { netns: number }>(things: readonly T[], { netns }: Puppet): T[] =>
  things.filter((thing) => thing.netns === netns);

const hashed = (census: Census, puppet: Puppet): CensusSocket[] =>
  of(census.sockets, puppet).filter(({ ways }) => ways.includes('hash'));

/** As `ss` writes them. */
const SS_STATES: Partial<Record<TcpState, string>> = {
  ESTABLISHED: 'ESTAB',
  SYN_SENT: 'SYN-SENT',
  SYN_RECV: 'SYN-RECV',
  NEW_SYN_RECV: 'SYN-RECV',
  FIN_WAIT1: 'FIN-WAIT-1',
  // What is left of an orphan in FIN_WAIT2 is a TIME_WAIT with a substate, which only ss goes into.
  FIN_WAIT2: 'TIME-WAIT',
  TIME_WAIT: 'TIME-WAIT',
  CLOSE_WAIT: 'CLOSE-WAIT',
  LAST_ACK: 'LAST-ACK',
  LISTEN: 'LISTEN',
  CLOSING: 'CLOSING',
};

function ssRow({ state, family, local, peer }: Pick<CensusSocket, 'state' | 'family' | 'local' | 'peer'>): string {
  const address = (text: string) => (family === 6 ? `[${text}]` : text);
  const port = (number: number) => (number === 0 ? '*' : String(number));
  return `${SS_STATES[state]} ${address(local.address)}:${port(local.port)} ${address(peer.address)}:${port(peer.port)}`;
}

describe('the census agrees with', () => {
  it('ss -tan: the same connections, listeners and TIME_WAIT', async () => {
    const { census, said } = await beside(() =>
      each(async (puppet) =>
        [...(await inNamespace(puppet, 'ss', '-tanH')).matchAll(/^(\S+) +\d+ +\d+ +(\S+) +(\S+)/gm)]
          .map(([, state, local, peer]) => `${state?.replace('FIN-WAIT-2', 'TIME-WAIT')} ${local} ${peer}`)
          .sort(),
      ),
    );
    for (const [i, puppet] of puppets.entries()) {
      const rows = [...hashed(census, puppet), ...of(census.minisocks, puppet)].map(ssRow).sort();
      expect(rows).toEqual(said[i]);
    }
  });

  it('ss -s: estab, closed, orphaned and timewait of each namespace', async () => {
    const { census, said } = await beside(() => each((puppet) => inNamespace(puppet, 'ss', '-s')));
    const orphaned = census.sockets.filter((socket) => classOf(socket) === 'orphaned').length;
    for (const [i, puppet] of puppets.entries()) {
      const here = of(census.sockets, puppet);
      const estab = here.filter(({ state }) => state === 'ESTABLISHED' || state === 'CLOSE_WAIT').length;
      const waiting = of(census.minisocks, puppet).filter(({ state }) => state === 'TIME_WAIT').length;
      const closed = census.sockets.length - hashed(census, puppet).length + waiting;
      const figures = `estab ${estab}, closed ${closed}, orphaned ${orphaned}, timewait ${waiting}`;
      expect(said[i]).toContain(`TCP:   ${census.sockets.length + waiting} (${figures})`);
    }
    expect(of(census.minisocks, all).length).toBeGreaterThan(20);
  });

  it('sockstat and sockstat6 of each namespace', async () => {
    const { census, said } = await beside(() =>
      each(async (puppet) => {
        const { inuse, inuse6, tw, alloc, orphan } = await sockstat(puppet.pid);
        return { inuse, inuse6, tw, alloc, orphan };
      }),
    );
    for (const [i, puppet] of puppets.entries())
      expect(said[i]).toEqual({
        inuse: hashed(census, puppet).filter(({ family }) => family === 4).length,
        inuse6: hashed(census, puppet).filter(({ family }) => family === 6).length,
        tw: of(census.minisocks, puppet).filter(({ state }) => state === 'TIME_WAIT').length,
        alloc: census.sockets.length,
        orphan: census.sockets.filter((socket) => classOf(socket) === 'orphaned').length,
      });
  });

  it('inet_diag with what is bound and inactive: the same ports, one by one', async (context) => {
    const { census, said } = await beside(() => each(async (puppet) => diagIn(puppet)));
    // The host's puppet has seven of them, whatever others have.
    if (said.every(({ boundInactive }) => boundInactive === 0))
      notRun(context, "this kernel's inet_diag does not show what is bound and inactive (before 6.8)");
    for (const [i, puppet] of puppets.entries()) {
      const waiting = of(census.minisocks, puppet).filter(({ state }) => state === 'TIME_WAIT');
      const held = of(census.sockets, puppet).flatMap(({ port }) => port ?? []);
      const ports = [...new Set([...held, ...waiting.map(({ local }) => local.port)])].sort((a, b) => a - b);
      expect(ports).toEqual(said[i]?.ports);
      expect(portsOf(census).find(({ netns }) => netns === puppet.netns)?.inUse).toBe(ports.length);
      expect(of(census.sockets, puppet).filter(({ state, port }) => state === 'CLOSE' && port !== null)).toHaveLength(
        said[i]?.boundInactive ?? 0,
      );
    }
  });

  it('/proc/PID/fd of every process: who holds what, by which descriptor', async () => {
    const { census, said } = await beside(allDescriptors);
    const known = new Set(census.sockets.map(({ inode }) => inode));
    const held = census.sockets.flatMap(({ inode, holders }) => holders.map(({ pid, fd }) => `${pid} ${fd} ${inode}`));
    expect(held.sort()).toEqual(said.filter((line) => known.has(line.split(' ')[2] ?? '')));
    expect(held.length).toBeGreaterThan(100);
  });

  it('lsof: the same descriptors are TCP, in the same states where its own tables have them', async () => {
    const pids = [all.pid, host.pid];
    const { census, said } = await beside(() => Promise.all(pids.map(lsofTcp)));
    for (const [i, pid] of pids.entries()) {
      const held = census.sockets.flatMap(({ holders, state, ways }) =>
        holders
          .filter((holder) => holder.pid === pid)
          .map(({ fd }) => ({ fd, state: pid === host.pid && ways.includes('hash') ? state : '' })),
      );
      expect(held.sort((a, b) => a.fd - b.fd)).toEqual(said[i]);
      expect(held.length).toBeGreaterThan(10);
    }
  });
});

/** Ports and what is in CLOSE, as the kernel tells a client of its own. */
async function diagIn(puppet: Puppet): Promise<{ ports: number[]; boundInactive: number }> {
  const { ports, boundInactive } = await puppet.command('diag');
  return { ports, boundInactive: boundInactive ?? 0 };
}

/** `PID FD INODE` of each descriptor for a socket of any kind. */
async function allDescriptors(): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lists = await Promise.all(
    pids.map(async (pid) => {
      const fds = await readdir(`/proc/${pid}/fd`).catch(() => []); // it has ended
      const links = await Promise.all(fds.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')));
      return links.flatMap((link, i) => {
        const inode = /^socket:\[(\d+)\]$/.exec(link)?.[1];
        return inode === undefined ? [] : [`${pid} ${fds[i]} ${inode}`];
      });
    }),
  );
  return lists.flat().sort();
}

/** Descriptors that lsof calls TCP: by the tables of its own namespace, or of no table by the name of their protocol. */
async function lsofTcp(pid: number): Promise<{ fd: number; state: string }[]> {
  const { stdout } = await run('lsof', ['-nP', '-p', String(pid), '-F', 'ftPnT']);
  const files = stdout.split(/^f/m).slice(1);
  return files
    .filter((file) => /^PTCP$/m.test(file) || /^nprotocol: TCP(v6)?$/m.test(file))
    .map((file) => ({ fd: Number.parseInt(file, 10), state: /^TST=(.*)$/m.exec(file)?.[1] ?? '' }))
    .sort((a, b) => a.fd - b.fd);
}
