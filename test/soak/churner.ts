// One program that does at random what programs do with sockets, and the model of what it should hold by now.
import type { SocketKind } from '../../src/ledger/types.ts';
import { type Answer, Puppet } from '../host/puppet.ts';
import type { Random } from './random.ts';

const MOST_SETS = 60;
const MOST_CHILDREN = 3;
const MOST_AT_ONCE = 12;

/** Sockets that were made together and have fared alike. */
interface SocketSet {
  name: string;
  kind: SocketKind;
  count: number;
  /** of a connection in this process: the other side */
  peer: SocketSet | null;
  /** the other side was closed: see ModelSocket */
  forsaken?: boolean;
}

/** A process: the program itself, or a child of it. */
interface Member {
  /** how commands reach it: "" or "child 3 " */
  via: string;
  pid: number;
  child: number;
  sets: Set<SocketSet>;
  /** one of `sets`, when it has one */
  listener: SocketSet | null;
}

/** What system calls returned, added up. */
export interface Done {
  opened: number;
  accepted: number;
  /** in a wasteful kind when the process that alone held them exited */
  heldAtExit: number;
  /** `bind EADDRINUSE` and the like */
  failures: Map<string, number>;
}

/** A socket as the model has it. */
export interface ModelSocket {
  kind: SocketKind;
  holders: number[];
  /**
   * The other side was closed, which the kernel forgets after a minute (tcp_fin_timeout). A new connection that is given
   * the port of it then resets this one: from close-wait to disconnected, without any call of the program.
   */
  forsaken: boolean;
}

const CLOSED: readonly SocketKind[] = ['unused', 'bound-inactive', 'bind-failed', 'connect-failed'];

function addHolder(sockets: Map<number, ModelSocket>, inode: number, set: SocketSet, pid: number): void {
  const { kind, forsaken = false } = set;
  const known = sockets.get(inode);
  if (known === undefined) sockets.set(inode, { kind, holders: [pid], forsaken });
  else if (known.kind !== kind) throw new Error(`the model has ${inode} as ${known.kind} and as ${kind}`);
  else if (!known.holders.includes(pid)) known.holders.push(pid);
}

export class Churner {
  readonly puppet: Puppet;
  readonly done: Done = { opened: 0, accepted: 0, heldAtExit: 0, failures: new Map() };
  readonly #random: Random;
  readonly #main: Member;
  readonly #children: Member[] = [];
  /** in flight over a unix socket of the program to itself, with their inodes */
  #inFlight: { set: SocketSet; inodes: number[] } | null = null;
  /** connections that wait in the accept queue of the program's listener */
  #unaccepted: SocketSet | null = null;
  #churning = false;
  #names = 0;

  private constructor(puppet: Puppet, random: Random) {
    this.puppet = puppet;
    this.#random = random;
    this.#main = { via: '', pid: puppet.pid, child: 0, sets: new Set(), listener: null };
  }

  /** @param beside whose network namespace to share; null: one of its own */
  static async start(random: Random, lifetimeS: number, beside: Churner | null): Promise<Churner> {
    const env = { PUPPET_LIFETIME: String(lifetimeS) };
    const where = beside === null ? { netns: true } : { netnsOf: beside.puppet };
    return new Churner(await Puppet.start({ ...where, env, timeoutMs: 60_000 }), random);
  }

  get pids(): number[] {
    return [this.#main, ...this.#children].map(({ pid }) => pid);
  }

  /** Does so many random things. */
  async churn(steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) await this.#step();
  }

  /** Stops what goes on in the background, and tells what there is by the program's own system calls. */
  async standStill(): Promise<Map<number, ModelSocket>> {
    await this.#stopChurning();
    const sockets = new Map<number, ModelSocket>();
    for (const member of [this.#main, ...this.#children]) {
      const sets = new Map([...member.sets].map((set) => [set.name, set]));
      const { groups = {} } = await this.#tell(member, 'stats');
      for (const [name, { inodes = [] }] of Object.entries(groups)) {
        const set = sets.get(name);
        if (inodes.length > 0 && set === undefined) throw new Error(`the model has no ${name} in ${member.pid}`);
        for (const inode of inodes) addHolder(sockets, inode, set as SocketSet, member.pid);
      }
    }
    for (const inode of this.#inFlight?.inodes ?? [])
      if (!sockets.has(inode)) sockets.set(inode, { kind: 'released', holders: [], forsaken: false });
    return sockets;
  }

  async end(): Promise<void> {
    await this.puppet.close();
  }

  async #step(): Promise<void> {
    const steps: (() => Promise<void>)[] = [
      () => this.#leak(this.#anyone()),
      () => this.#leak(this.#anyone()),
      () => this.#leak(this.#main),
      () => this.#connect(),
      () => this.#connect(),
      () => this.#changeConnection(),
      () => this.#changeConnection(),
      () => this.#close(this.#anyone()),
      () => this.#close(this.#main),
      () => this.#dup(),
      () => this.#pass(),
      () => this.#toAndFro(),
      () => this.#fork(),
      () => this.#endChild(),
      () => this.#exec(),
      () => this.#inBackground(),
      () => this.#inBackground(),
      () => this.#forkAndGo(),
    ];
    await this.#random.of(steps)();
    while (this.#main.sets.size > MOST_SETS) await this.#close(this.#main);
  }

  /** A leak of any of the kinds that need no peer. */
  async #leak(member: Member): Promise<void> {
    const set = await this.#open(member);
    const kind = this.#random.of(CLOSED);
    if (kind === 'bound-inactive') await this.#tell(member, `bind ${set.name} zero`);
    if (kind === 'bind-failed') {
      const listener = await this.#listenerOf(member);
      const { count } = await this.#tell(member, `bind ${set.name} @${listener.name} lo`, 'bind');
      if (count > 0) throw new Error('a port that is listened at was bound');
    }
    if (kind === 'connect-failed') await this.#tell(member, `connect ${set.name} lo 9`, 'connect');
    set.kind = kind;
  }

  async #open(member: Member): Promise<SocketSet> {
    const family = this.#random.of(['v4', 'v6']);
    const set: SocketSet = { name: this.#name(family), kind: 'unused', count: 0, peer: null };
    const { count } = await this.#tell(member, `open ${set.name} ${family} ${this.#random.from(1, MOST_AT_ONCE)}`);
    this.done.opened += count;
    set.count = count;
    member.sets.add(set);
    return set;
  }

  /** Dual-stack, so that its port is taken in both families. */
  async #listenerOf(member: Member): Promise<SocketSet> {
    if (member.listener !== null) return member.listener;
    const set: SocketSet = { name: this.#name('v6'), kind: 'listening', count: 1, peer: null };
    await this.#tell(member, `open ${set.name} v6 1`);
    this.done.opened++;
    await this.#tell(member, `bind ${set.name} zero ::`);
    await this.#tell(member, `listen ${set.name} 128`);
    member.sets.add(set);
    member.listener = set;
    return set;
  }

  async #connect(): Promise<void> {
    await this.#accept();
    const listener = await this.#listenerOf(this.#main);
    const clients = await this.#open(this.#main);
    await this.#tell(this.#main, `connect ${clients.name} lo @${listener.name}`, 'connect');
    clients.kind = 'established';
    this.#unaccepted = clients;
    if (this.#random.next() < 0.8) await this.#accept();
  }

  async #accept(): Promise<void> {
    const clients = this.#unaccepted;
    const { listener } = this.#main;
    if (clients === null || listener === null) return;
    this.#unaccepted = null;
    const served: SocketSet = { name: this.#name('s'), kind: 'established', count: clients.count, peer: clients };
    const { count } = await this.#tell(this.#main, `accept ${listener.name} ${served.name} ${clients.count}`);
    if (count !== clients.count) throw new Error(`${count} of ${clients.count} were accepted`);
    this.done.accepted += count;
    clients.peer = served;
    this.#main.sets.add(served);
  }

  async #changeConnection(): Promise<void> {
    const open = [...this.#main.sets].filter(
      ({ kind, peer }) => kind === 'established' && peer?.kind === 'established',
    );
    if (open.length === 0) return;
    const one = this.#random.of(open);
    const peer = one.peer as SocketSet;
    switch (this.#random.of(['half-close', 'close', 'reset', 'unspec', 'talk'])) {
      case 'half-close':
        await this.#tell(this.#main, `shutdown ${one.name} wr`);
        await this.#wait(peer, 'CLOSE_WAIT');
        one.kind = 'closing';
        peer.kind = 'close-wait';
        return;
      case 'close':
        await this.#tell(this.#main, `close ${one.name}`);
        await this.#wait(peer, 'CLOSE_WAIT');
        this.#gone(one);
        peer.kind = 'close-wait';
        peer.forsaken = true;
        return;
      case 'reset':
        await this.#tell(this.#main, `reset ${one.name}`);
        await this.#wait(peer, 'CLOSE');
        this.#gone(one);
        peer.kind = 'disconnected';
        return;
      case 'unspec':
        await this.#tell(this.#main, `connect-unspec ${one.name}`);
        await this.#wait(peer, 'CLOSE');
        one.kind = 'disconnected';
        peer.kind = 'disconnected';
        return;
      default:
        await this.#tell(this.#main, `send ${one.name} 100`);
        await this.#tell(this.#main, `recv ${peer.name}`);
    }
  }

  async #wait(set: SocketSet, state: string): Promise<void> {
    const { count } = await this.#tell(this.#main, `wait-state ${set.name} ${state}`);
    if (count !== set.count) throw new Error(`${count} of ${set.count} came to ${state}`);
  }

  /** What is no connection and no listener: closing it changes nothing of any other. */
  #loose(member: Member): SocketSet[] {
    return [...member.sets].filter(({ kind }) => CLOSED.includes(kind));
  }

  async #close(member: Member): Promise<void> {
    // A connection whose other side lives is ended by changeConnection.
    const free = [...member.sets].filter((set) => {
      return (
        CLOSED.includes(set.kind) || set.kind === 'disconnected' || (set.peer !== null && set.kind === 'close-wait')
      );
    });
    if (free.length === 0) return this.#changeConnection();
    const set = this.#random.of(free);
    await this.#tell(member, `close ${set.name}`);
    member.sets.delete(set);
    // An orphan in FIN_WAIT2 or LAST_ACK goes by itself; a half-closed peer is then closed both ways.
    if (set.kind === 'close-wait' && set.peer !== null && member.sets.has(set.peer)) {
      await this.#wait(set.peer, 'CLOSE');
      set.peer.kind = 'disconnected';
    }
  }

  #gone(set: SocketSet): void {
    this.#main.sets.delete(set);
  }

  async #dup(): Promise<void> {
    const loose = this.#loose(this.#main);
    if (loose.length === 0) return;
    const set = this.#random.of(loose);
    const again: SocketSet = { ...set, name: this.#name('d') };
    await this.#tell(this.#main, `dup ${set.name} ${again.name}`);
    // The first descriptors go, the sockets stay.
    if (this.#random.next() < 0.5) {
      await this.#tell(this.#main, `close ${set.name}`);
      this.#main.sets.delete(set);
    }
    this.#main.sets.add(again);
  }

  /** To a child, over a unix socket. */
  async #pass(): Promise<void> {
    const loose = this.#loose(this.#main);
    if (this.#children.length === 0 || loose.length === 0) return;
    const to = this.#random.of(this.#children);
    const set = this.#random.of(loose);
    if (to.sets.has(set)) return;
    await this.#tell(this.#main, `send-fd ${set.name} child ${to.child} close`);
    await this.#tell(to, `recv-fd ${set.name} parent`);
    this.#main.sets.delete(set);
    to.sets.add(set);
  }

  /** Into flight, where nobody holds them, or back. */
  async #toAndFro(): Promise<void> {
    if (this.#inFlight !== null) {
      const { set } = this.#inFlight;
      await this.#tell(this.#main, `recv-fd ${set.name} self`);
      this.#main.sets.add(set);
      this.#inFlight = null;
      return;
    }
    const loose = this.#loose(this.#main);
    if (loose.length === 0) return;
    const set = this.#random.of(loose);
    const { groups } = await this.#tell(this.#main, `stats ${set.name}`);
    await this.#tell(this.#main, `send-fd ${set.name} self close`);
    this.#main.sets.delete(set);
    this.#inFlight = { set, inodes: groups?.[set.name]?.inodes ?? [] };
  }

  /** The child keeps what is loose; of a connection or a listener, each end is to have one holder. */
  async #fork(): Promise<void> {
    if (this.#children.length >= MOST_CHILDREN) return this.#endChild();
    await this.#stopChurning();
    const { child = 0, pid = 0 } = await this.#tell(this.#main, 'fork');
    const member: Member = {
      via: `child ${child} `,
      pid,
      child,
      sets: new Set(this.#loose(this.#main)),
      listener: null,
    };
    for (const set of this.#main.sets) if (!member.sets.has(set)) await this.#tell(member, `close ${set.name}`);
    this.#children.push(member);
  }

  async #endChild(): Promise<void> {
    const [member] = this.#children.splice(this.#random.from(0, this.#children.length - 1), 1);
    if (member === undefined) return;
    // Two sets may be the same sockets twice (dup): only inodes tell what this process alone holds.
    const rest = await Promise.all([this.#main, ...this.#children].map((one) => this.#tell(one, 'stats')));
    const others = new Set(
      rest.flatMap(({ groups = {} }) => Object.values(groups).flatMap(({ inodes = [] }) => inodes)),
    );
    for (const inode of this.#inFlight?.inodes ?? []) others.add(inode);
    const kinds = new Map([...member.sets].map(({ name, kind }) => [name, kind]));
    const { groups = {} } = await this.#tell(member, 'stats');
    const own = new Set<number>();
    for (const [name, { inodes = [] }] of Object.entries(groups))
      if (CLOSED.includes(kinds.get(name) ?? 'listening'))
        for (const inode of inodes) if (!others.has(inode)) own.add(inode);
    await this.#tell(this.#main, `${member.via}${this.#random.of(['exit', 'abort'])}`);
    this.done.heldAtExit += own.size;
  }

  async #exec(): Promise<void> {
    const member = this.#anyone();
    if (member === this.#main) await this.#stopChurning();
    await this.#tell(member, 'exec');
  }

  async #inBackground(): Promise<void> {
    const mode = this.#random.of(['openclose', 'openbindclose', 'healthy', 'reset-storm']);
    this.#churning = true;
    await this.#tell(
      this.#main,
      `churn-thread ${this.#random.from(50, 1500)} ${this.#random.of(['v4', 'v6'])} ${mode}`,
    );
  }

  async #stopChurning(): Promise<void> {
    if (!this.#churning) return;
    this.#churning = false;
    this.#churned(await this.#tell(this.#main, 'churn-wait'));
  }

  /** Children that open eight each, and exit with them. What else the program holds, it goes on holding. */
  async #forkAndGo(): Promise<void> {
    await this.#stopChurning();
    const answer = await this.#tell(
      this.#main,
      `churn ${this.#random.from(1, 20)} ${this.#random.of(['v4', 'v6'])} forks`,
    );
    this.#churned(answer);
    this.done.opened += 8 * answer.count;
    this.done.heldAtExit += 8 * answer.count;
  }

  #churned({ opened = 0, accepted = 0, errors }: Answer): void {
    if (Object.keys(errors).length > 0) throw new Error(`churn failed: ${JSON.stringify(errors)}`);
    this.done.opened += opened;
    this.done.accepted += accepted;
  }

  #anyone(): Member {
    return this.#random.of([this.#main, this.#main, ...this.#children]);
  }

  #name(hint: string): string {
    return `${hint}-${this.#names++}`;
  }

  /** @param fails what may fail of it, by the name of the call */
  async #tell(member: Member, command: string, fails?: 'bind' | 'connect'): Promise<Answer> {
    const answer = await this.puppet.command(`${member.via}${command}`);
    for (const [errno, count] of Object.entries(answer.errors)) {
      if (fails === undefined && !command.startsWith('churn')) throw new Error(`${command}: ${count} ${errno}`);
      if (fails === undefined) continue;
      const key = `${fails} ${errno}`;
      this.done.failures.set(key, (this.done.failures.get(key) ?? 0) + count);
    }
    return answer;
  }
}
