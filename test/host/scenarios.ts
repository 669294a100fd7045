// Each kind of the table, as commands for a puppet and what must come out of them.
import type { ExpectedFinding } from './tracing.ts';

export interface Scenario {
  name: string;
  /** in a network namespace of its own */
  commands: string[];
  expected: Omit<ExpectedFinding, 'pid'>[];
}

const N = 7;

const TEMPLATES: Scenario[] = [
  { name: 'unused', commands: [`open g %f ${N}`], expected: [{ kind: 'unused', count: N, ports: 0, errno: null }] },
  {
    name: 'bound to port 0',
    commands: [`open g %f ${N}`, 'bind g zero'],
    expected: [{ kind: 'bound-inactive', count: N, ports: N, errno: null }],
  },
  {
    name: 'bound to given ports',
    commands: [`open g %f ${N}`, 'bind g 20000+'],
    expected: [{ kind: 'bound-inactive', count: N, ports: N, errno: null }],
  },
  {
    name: 'bind left to connect (IP_BIND_ADDRESS_NO_PORT) holds no port',
    commands: [`open g %f ${N}`, 'noport g', 'bind g zero'],
    expected: [{ kind: 'bound-inactive', count: N, ports: 0, errno: null }],
  },
  {
    name: 'bind to a taken port',
    commands: ['open l %f 1', 'bind l 20000', 'listen l 8', `open g %f ${N}`, 'bind g 20000'],
    expected: [{ kind: 'bind-failed', count: N, ports: 0, errno: 'EADDRINUSE' }],
  },
  {
    name: 'bind to a foreign address',
    commands: [`open g %f ${N}`, 'bind g zero %a'],
    expected: [{ kind: 'bind-failed', count: N, ports: 0, errno: 'EADDRNOTAVAIL' }],
  },
  {
    name: 'bind to a privileged port as a plain user',
    commands: ['setuid 65534', `open g %f ${N}`, 'bind g 80'],
    expected: [{ kind: 'bind-failed', count: N, ports: 0, errno: 'EACCES' }],
  },
  {
    name: 'bind in a full range of ten ports',
    commands: ['port-range 30000 30009', `open g %f ${N + 10}`, 'bind g zero'],
    expected: [
      { kind: 'bound-inactive', count: 10, ports: 10, errno: null },
      { kind: 'bind-failed', count: N, ports: 0, errno: 'EADDRINUSE' },
    ],
  },
  {
    name: 'connect refused, never bound',
    commands: [`open g %f ${N}`, 'connect g lo 9'],
    expected: [{ kind: 'connect-failed', count: N, ports: 0, errno: 'ECONNREFUSED' }],
  },
  {
    name: 'connect refused after bind(0): the port goes back',
    commands: [`open g %f ${N}`, 'bind g zero', 'connect g lo 9'],
    expected: [{ kind: 'connect-failed', count: N, ports: 0, errno: 'ECONNREFUSED' }],
  },
  {
    name: 'connect refused after an explicit bind: the port is kept',
    commands: [`open g %f ${N}`, 'bind g 20000+', 'connect g lo 9'],
    expected: [{ kind: 'connect-failed', count: N, ports: N, errno: 'ECONNREFUSED' }],
  },
  {
    name: 'connect refused asynchronously',
    commands: [`open g %f ${N}`, 'connect g lo 9 nonblock', 'poll-connect g'],
    expected: [{ kind: 'connect-failed', count: N, ports: 0, errno: 'ECONNREFUSED' }],
  },
  {
    name: 'connect refused asynchronously, and asked for by another connect',
    commands: [`open g %f ${N}`, 'connect g lo 9 nonblock', 'poll-connect g', 'connect g lo 9'],
    expected: [{ kind: 'connect-failed', count: N, ports: 0, errno: 'ECONNREFUSED' }],
  },
  {
    name: 'connect without a free port',
    commands: [
      'port-range 30000 30009',
      'open l %f 1',
      'bind l 20000',
      'listen l 64',
      'open full %f 10',
      'bind full zero',
      `open g %f ${N}`,
      'connect g lo 20000',
    ],
    expected: [
      { kind: 'bound-inactive', count: 10, ports: 10, errno: null },
      { kind: 'connect-failed', count: N, ports: 0, errno: 'EADDRNOTAVAIL' },
    ],
  },
  {
    name: 'connect to a family the socket is not of',
    commands: [`open g %f ${N}`, 'connect g %o 9'],
    // A v6 socket finds the v4 address too short before it looks at its family.
    expected: [{ kind: 'connect-failed', count: N, ports: 0, errno: '%w' }],
  },
  {
    name: 'reset by the peer',
    commands: [...pair(), 'reset s', 'wait-state g CLOSE'],
    expected: [{ kind: 'disconnected', count: N, ports: 0, errno: 'ECONNRESET' }],
  },
  {
    name: 'reset by the peer, explicitly bound: the port is kept',
    commands: [...pair('bind g 25000+'), 'reset s', 'wait-state g CLOSE'],
    expected: [{ kind: 'disconnected', count: N, ports: N, errno: 'ECONNRESET' }],
  },
  {
    name: 'accepted, and reset before a byte of theirs was acknowledged',
    commands: [...pair(), 'vanish g', 'send s 11', 'wait-state s CLOSE'],
    expected: [{ kind: 'disconnected', count: N, ports: 0, errno: 'ECONNRESET' }],
  },
  {
    name: 'shut down by both sides, descriptors open',
    // The side that shuts down second has no TIME_WAIT and falls to CLOSE; the first goes through TIME_WAIT.
    commands: [...pair(), 'shutdown g rdwr', 'wait-state s CLOSE_WAIT', 'shutdown s rdwr', 'wait-state s CLOSE'],
    expected: [{ kind: 'disconnected', count: 2 * N, errno: null }],
  },
  {
    name: 'connect(AF_UNSPEC)',
    commands: [...pair(), 'connect-unspec g', 'close s'],
    expected: [{ kind: 'disconnected', count: N, ports: 0, errno: null }],
  },
  {
    name: 'a listener that was shut down',
    commands: [`open g %f ${N}`, 'bind g 20000+', 'listen g 8', 'shutdown g rdwr'],
    expected: [{ kind: 'disconnected', count: N, ports: N, errno: null }],
  },
  {
    name: 'a listen that found no port',
    commands: ['port-range 30000 30009', 'open full %f 10', 'bind full zero', `open g %f ${N}`, 'listen g 8'],
    expected: [
      { kind: 'bound-inactive', count: 10, ports: 10, errno: null },
      { kind: 'unused', count: N, ports: 0, errno: null },
    ],
  },
  {
    name: 'close-wait',
    commands: [...pair(), 'close s', 'wait-state g CLOSE_WAIT'],
    expected: [{ kind: 'close-wait', count: N, ports: N, errno: null }],
  },
  {
    name: 'opened, bound and closed at once: nothing',
    commands: [`open g %f ${N}`, 'bind g zero', 'close g'],
    expected: [],
  },
];

/** N connections: clients `g`, accepted `s`. */
function pair(...prepare: string[]): string[] {
  return [
    'open l %f 1',
    'bind l 20000',
    'listen l 64',
    `open g %f ${N}`,
    ...prepare,
    'connect g lo 20000',
    `accept l s ${N}`,
  ];
}

/** What the templates write in their place of: %f family, %a foreign address, %o address of the other family, %w errno. */
const FAMILIES = {
  v4: { foreign: '192.0.2.1', other: '::1', wrongFamily: 'EAFNOSUPPORT' },
  v6: { foreign: '2001:db8::1', other: '127.0.0.1', wrongFamily: 'EINVAL' },
} as const;

export type Family = keyof typeof FAMILIES;

export const FAMILY_NAMES = Object.keys(FAMILIES) as Family[];

/** All scenarios, for one family. */
export function scenariosOf(family: Family): Scenario[] {
  const { foreign, other, wrongFamily } = FAMILIES[family];
  return TEMPLATES.map(({ name, commands, expected }) => ({
    name,
    commands: commands.map((command) =>
      command.replaceAll('%f', family).replaceAll('%a', foreign).replaceAll('%o', other),
    ),
    expected: expected.map((finding) => (finding.errno === '%w' ? { ...finding, errno: wrongFamily } : finding)),
  }));
}

/** How many sockets the commands open. */
export function opened(commands: readonly string[]): number {
  return commands.reduce((sum, command) => sum + Number(/^open \S+ \S+ (\d+)$/.exec(command)?.[1] ?? 0), 0);
}
