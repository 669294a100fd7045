// Programs that this project did not write leak in turn: what socktrace says of them must be exactly right.
import { afterEach, describe, expect, it } from 'vitest';
import type { Report } from '../../src/report/types.ts';
import { heldTcpSockets, ssStates } from '../host/oracle.ts';
import { Puppet } from '../host/puppet.ts';
import { unmendedLoss } from '../host/tracing.ts';
import {
  childrenOf,
  commOf,
  failuresOf,
  finding,
  freePort,
  nameOf,
  Peer,
  Program,
  until,
  Watch,
  works,
} from './programs.ts';
import { Socktrace } from './socktrace.ts';

afterEach(async () => {
  Socktrace.killAll();
  await Program.killAll();
});

/** A test that says in its name that it was not run for want of a program. */
function itWith(program: string, present: boolean, name: string, body: () => Promise<void>): void {
  it.skipIf(!present)(nameWith(program, present, name), body);
}

function nameWith(program: string, present: boolean, name: string): string {
  return present ? name : `${name} (NOT RUN: no ${program})`;
}

async function ssShows(pid: number, state: string, count: number): Promise<void> {
  await until(`${count} ${state} of ${pid} in ss`, async () => ((await ssStates(pid))[state] ?? 0) === count);
}

/** No loss, and as many sockets held as the process has descriptors for. */
async function expectExact(report: Report, ...pids: number[]): Promise<void> {
  expect(unmendedLoss(report)).toEqual([]);
  const held = await Promise.all(pids.map(async (pid) => (await heldTcpSockets(pid)).all.length));
  expect(report.sockets.held).toBe(held.reduce((sum, count) => sum + count, 0));
}

/** A port at which every connect is refused: bound, and not listening. */
async function refusing(puppet: Puppet): Promise<number> {
  const { ports } = await puppet.commands('open refusing v4 1', 'bind refusing zero');
  return ports[0] as number;
}

function python(script: string): Program {
  return Program.start('python3', '-c', script);
}

function node(script: string): Program {
  return Program.start(process.execPath, '-e', script);
}

// Debian's python3-minimal has a part of these only.
const stdlib = works('python3', ['-c', 'import asyncio, http.server, multiprocessing.connection, urllib.request']);

describe.skipIf(!stdlib)(stdlib ? 'Python' : 'Python (NOT RUN: no python3 with its whole standard library)', () => {
  /** Answers each line after it has run the statement with it. */
  const each = (imports: string, statement: string) =>
    python(`import sys, ${imports}
held = []
print('ready', flush=True)
for line in sys.stdin:
    ${statement}
    print('done', flush=True)
`);

  const OPEN_URLS = ['urllib.request', 'held.append(urllib.request.urlopen(line.strip()))'] as const;

  async function httpServer(): Promise<{ server: Program; url: string } & AsyncDisposable> {
    const server = Program.start('python3', '-u', '-m', 'http.server', '--bind', '127.0.0.1', '0');
    const port = await server.said(/port (\d+)/);
    return { server, url: `http://127.0.0.1:${port}/`, [Symbol.asyncDispose]: () => server.kill() };
  }

  it('urlopen() of http.server, responses never closed: close-wait at the client, nothing at the server', async () => {
    await using http = await httpServer();
    await using client = each(...OPEN_URLS);
    await client.line();
    const watch = await Watch.of(client, http.server);
    await client.tellTimes(7, http.url);
    await ssShows(client.pid, 'CLOSE-WAIT', 7);
    const report = await watch.reports(finding(client.pid, { kind: 'close-wait', count: 7, ports: 7 }));
    expect(report.sockets).toMatchObject({ opened: 7, accepted: 7, preexisting: 1, destroyed: 7 });
    await expectExact(report, client.pid, http.server.pid);
  });

  it('the same before the trace and after: both are counted', async () => {
    await using http = await httpServer();
    await using client = each(...OPEN_URLS);
    await client.line();
    await client.tellTimes(4, http.url);
    await ssShows(client.pid, 'CLOSE-WAIT', 4);
    const watch = await Watch.of(client);
    await client.tellTimes(3, http.url);
    await ssShows(client.pid, 'CLOSE-WAIT', 7);
    const report = await watch.reports(finding(client.pid, { kind: 'close-wait', count: 7, ports: 7 }));
    expect(report.sockets).toMatchObject({ opened: 3, preexisting: 4, destroyed: 0 });
    await expectExact(report, client.pid);
  });

  it('urlopen() in with-blocks: nothing', async () => {
    await using http = await httpServer();
    await using client = each('urllib.request', 'with urllib.request.urlopen(line.strip()) as page: page.read()');
    await client.line();
    const watch = await Watch.of(client, http.server);
    await client.tellTimes(20, http.url);
    const report = await watch.reports();
    expect(report.sockets).toMatchObject({ opened: 20, accepted: 20, preexisting: 1, destroyed: 40, held: 1 });
    expect(report.verdict).toEqual({ is: 'no-leak' });
    await expectExact(report, client.pid, http.server.pid);
  });

  it('socketserver retried on a port that is taken, and made for nothing: a finding for each way', async () => {
    await using taken = await Peer.that(() => {});
    await using servers = python(`import sys, socketserver
held = []
print('ready', flush=True)
for line in sys.stdin:
    server = socketserver.TCPServer(('127.0.0.1', int(line)), None, bind_and_activate=False)
    held.append(server)
    try:
        if int(line) != 1: server.server_bind()
    except OSError: pass
    print('done', flush=True)
`);
    await servers.line();
    const watch = await Watch.of(servers);
    await servers.tellTimes(4, '1');
    await servers.tellTimes(5, '0');
    await servers.tellTimes(6, String(taken.port));
    const report = await watch.reports(
      finding(servers.pid, { kind: 'unused', count: 4 }),
      finding(servers.pid, { kind: 'bound-inactive', count: 5, ports: 5 }),
      finding(servers.pid, { kind: 'bind-failed', count: 6, errno: 'EADDRINUSE' }),
    );
    expect(failuresOf(report, servers.pid)).toEqual([
      { operation: 'bind', errno: 'EADDRINUSE', cause: 'port-taken', count: 6 },
    ]);
    expect((await heldTcpSockets(servers.pid)).unhashed).toHaveLength(15);
    await expectExact(report, servers.pid);
  });

  it('a retry loop of refused connects: unknown before the trace, connect-failed after', async () => {
    await using puppet = await Puppet.start();
    const port = await refusing(puppet);
    await using client = each('socket', "held.append(socket.socket()); held[-1].connect_ex(('127.0.0.1', int(line)))");
    await client.line();
    await client.tellTimes(4, String(port));
    const watch = await Watch.of(client);
    await client.tellTimes(6, String(port));
    const report = await watch.reports(
      finding(client.pid, { kind: 'closed-unknown', count: 4 }),
      finding(client.pid, { kind: 'connect-failed', count: 6, errno: 'ECONNREFUSED' }),
    );
    expect(failuresOf(report, client.pid)).toEqual([
      { operation: 'connect', errno: 'ECONNREFUSED', cause: 'refused', count: 6 },
    ]);
    await expectExact(report, client.pid);
  });

  it('socket.create_connection() refused: it closes what it opened', async () => {
    await using puppet = await Puppet.start();
    const port = await refusing(puppet);
    await using client = python(`import sys, socket
print('ready', flush=True)
for line in sys.stdin:
    try: socket.create_connection(('127.0.0.1', int(line)))
    except ConnectionRefusedError: print('refused', flush=True)
`);
    await client.line();
    const watch = await Watch.of(client);
    await client.tellTimes(12, String(port));
    const report = await watch.reports();
    expect(report.sockets).toMatchObject({ opened: 12, destroyed: 12, held: 0 });
    expect(failuresOf(report, client.pid)).toMatchObject([{ errno: 'ECONNREFUSED', count: 12 }]);
    await expectExact(report, client.pid);
  });

  it('asyncio.start_server() whose handler never closes its writer: close-wait at the server', async () => {
    await using server = python(`import asyncio
held = []
async def main():
    server = await asyncio.start_server(lambda *streams: held.append(streams), '127.0.0.1', 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
`);
    const port = Number(await server.line());
    await using clients = await Peer.that(() => {});
    const watch = await Watch.of(server);
    for (let i = 0; i < 6; i++) await clients.callAndLeave(port, 'hello');
    const staying = await clients.connect(port);
    await ssShows(server.pid, 'CLOSE-WAIT', 6);
    // They have the port of the listener, all of them.
    const report = await watch.reports(finding(server.pid, { kind: 'close-wait', count: 6, ports: 1 }));
    expect(staying.destroyed).toBe(false);
    expect(report.sockets).toMatchObject({ opened: 0, accepted: 7, preexisting: 1, destroyed: 0, held: 8 });
    await expectExact(report, server.pid);
  });

  it('multiprocessing connections that the peer reset: disconnected', async () => {
    await using peer = await Peer.that((socket) => socket.resetAndDestroy());
    await using client = each(
      'multiprocessing.connection',
      "held.append(multiprocessing.connection.Client(('127.0.0.1', int(line))))",
    );
    await client.line();
    const watch = await Watch.of(client);
    await client.tellTimes(5, String(peer.port));
    const report = await watch.reports(finding(client.pid, { kind: 'disconnected', count: 5, errno: 'ECONNRESET' }));
    await expectExact(report, client.pid);
  });
});

describe('Node', () => {
  const lines = `const held = []; const each = (what) => require('readline').createInterface({ input: process.stdin })
    .on('line', what); console.log('ready');`;
  const GET = `${lines} each((url) => require('http').get(url, { agent: false }, (response) => {
    held.push(response); console.log('done'); }));`;
  const response = (body: number) => `HTTP/1.1 200 OK\r\nContent-Length: ${body}\r\n\r\n${'x'.repeat(100_000)}`;

  it('http.get() whose response nobody reads, server closes: close-wait', async () => {
    await using server = await Peer.that((socket) => socket.end(response(100_000)));
    await using client = node(GET);
    await client.line();
    const watch = await Watch.of(client);
    await client.tellTimes(6, `http://127.0.0.1:${server.port}/`);
    await ssShows(client.pid, 'CLOSE-WAIT', 6);
    const report = await watch.reports(finding(client.pid, { kind: 'close-wait', count: 6, ports: 6 }));
    expect(report.sockets).toMatchObject({ opened: 6, preexisting: 0, destroyed: 0 });
    await expectExact(report, client.pid);
  });

  it('the same, and the server dies in the middle of its response: disconnected', async () => {
    await using server = await Peer.that((socket) => socket.write(response(1_000_000)));
    await using client = node(GET);
    await client.line();
    const watch = await Watch.of(client);
    await client.tellTimes(5, `http://127.0.0.1:${server.port}/`);
    await ssShows(client.pid, 'ESTAB', 5);
    server.reset();
    const report = await watch.reports(finding(client.pid, { kind: 'disconnected', count: 5, errno: 'ECONNRESET' }));
    await expectExact(report, client.pid);
  });

  it('a net server that reads nothing of what its clients said before they left: close-wait', async () => {
    await using server = node(
      `require('net').createServer().listen(0, '127.0.0.1', function () { console.log(this.address().port); });`,
    );
    const port = Number(await server.line());
    await using clients = await Peer.that(() => {});
    const watch = await Watch.of(server);
    for (let i = 0; i < 5; i++) await clients.callAndLeave(port, 'hello');
    await ssShows(server.pid, 'CLOSE-WAIT', 5);
    const report = await watch.reports(finding(server.pid, { kind: 'close-wait', count: 5, ports: 1 }));
    expect(report.sockets).toMatchObject({ opened: 0, accepted: 5, preexisting: 1, destroyed: 0 });
    await expectExact(report, server.pid);
  });

  it('an agent that keeps its connections, and connects that were refused: nothing', async () => {
    await using puppet = await Puppet.start();
    const port = await refusing(puppet);
    await using server = node(`require('http').createServer((_, response) => response.end('hello'))
      .listen(0, '127.0.0.1', function () { console.log(this.address().port); });`);
    const url = `http://127.0.0.1:${await server.line()}/`;
    await using client = node(`${lines} const { Agent, get } = require('http');
      const agent = new Agent({ keepAlive: true });
      each((url) => get(url, { agent }, (response) => response.resume().on('close', () => console.log('done')))
        .on('error', () => console.log('error')));`);
    await client.line();
    const watch = await Watch.of(client, server);
    await client.tellTimes(9, `http://127.0.0.1:${port}/`);
    await client.tellTimes(9, url);
    const report = await watch.reports();
    expect(failuresOf(report, client.pid)).toMatchObject([{ operation: 'connect', errno: 'ECONNREFUSED', count: 9 }]);
    expect(report.verdict).toEqual({ is: 'no-leak' });
    await expectExact(report, client.pid, server.pid);
  });
});

describe('C', () => {
  const bash = works('bash', ['--version']);
  const socat = works('socat', ['-V']);
  const nc = works('nc', ['-h'], /OpenBSD/);
  const redis = works('redis-server', ['--version']);

  itWith('socat', socat, 'socat fork EXEC: its children keep connections whose clients have gone', async () => {
    const listen = 'TCP-LISTEN:0,bind=127.0.0.1,fork';
    await using server = Program.start('socat', '-d', '-d', '-t', '1000', listen, 'EXEC:sleep 1000');
    const port = Number(await server.said(/listening on .*:(\d+)$/m));
    await using clients = await Peer.that(() => {});
    const watch = await Watch.of(server);
    for (let i = 0; i < 5; i++) await clients.callAndLeave(port, 'hello');
    const children = await until('five children', () => {
      const pids = childrenOf(server.pid);
      return pids.length === 5 && pids;
    });
    for (const child of children) await ssShows(child, 'CLOSE-WAIT', 1);
    // It accepted what they hold.
    const holders = children.map((child) => `${nameOf(child)} 1`);
    const report = await watch.reports(finding(server.pid, { kind: 'close-wait', count: 5, ports: 1, holders }));
    expect(report.sockets).toMatchObject({ opened: 0, accepted: 5, preexisting: 1, destroyed: 0 });
    await expectExact(report, server.pid, ...children);
  });

  const PIPE = ['-d', '-d', 'TCP-LISTEN:0,bind=127.0.0.1,fork', 'PIPE'] as const;

  itWith('socat', socat, 'socat fork PIPE with clients that stay: nothing', async () => {
    await using server = Program.start('socat', ...PIPE);
    const port = Number(await server.said(/listening on .*:(\d+)$/m));
    await using clients = await Peer.that(() => {});
    const watch = await Watch.of(server);
    for (let i = 0; i < 5; i++) await clients.echo(port, 'hello');
    const report = await watch.reports();
    expect(report.sockets).toMatchObject({ opened: 0, accepted: 5, preexisting: 1, destroyed: 0 });
    await expectExact(report, server.pid, ...childrenOf(server.pid));
  });

  describe('processes of one connection, which they leave to exit() to close', () => {
    itWith('socat', socat, 'socat fork PIPE with clients that leave: nothing', async () => {
      await using server = Program.start('socat', ...PIPE);
      const port = Number(await server.said(/listening on .*:(\d+)$/m));
      await using clients = await Peer.that(() => {});
      const watch = await Watch.of(server);
      for (let i = 0; i < 5; i++) (await clients.echo(port, 'hello')).end();
      await watch.until('five closed', ({ sockets }) => sockets.destroyed === 5);
      const report = await watch.reports();
      expect(report.verdict).toEqual({ is: 'no-leak' });
    });

    itWith('bash', bash, 'a shell script whose clients read to the end: nothing', async () => {
      await using peer = await Peer.that((socket) => socket.end('hello\n'));
      await using script = Program.start(
        'bash',
        '-c',
        'while read -r port; do ( exec 3<>/dev/tcp/127.0.0.1/$port; cat <&3; exit ) done',
      );
      const watch = await Watch.of(script);
      for (let i = 0; i < 5; i++) expect(await script.tell(String(peer.port))).toBe('hello');
      await watch.until('five closed', ({ sockets }) => sockets.destroyed === 5);
      const report = await watch.reports();
      expect(report.verdict).toEqual({ is: 'no-leak' });
    });
  });

  itWith('bash', bash, 'bash /dev/tcp, descriptors never closed: close-wait', async () => {
    await using peer = await Peer.that((socket) => socket.end());
    await using shell = Program.start(
      'bash',
      '-c',
      'while read -r port; do exec {fd}<>/dev/tcp/127.0.0.1/$port; echo done; done',
    );
    const watch = await Watch.of(shell);
    await shell.tellTimes(5, String(peer.port));
    await ssShows(shell.pid, 'CLOSE-WAIT', 5);
    const report = await watch.reports(finding(shell.pid, { kind: 'close-wait', count: 5, ports: 5 }));
    await expectExact(report, shell.pid);
  });

  itWith(
    'bash',
    bash,
    'a daemon that inherits descriptors of a shell that has ended: owner and holder differ',
    async () => {
      await using peer = await Peer.that((socket) => socket.end());
      await using shell = Program.start(
        'bash',
        '-c',
        `while read -r port; do (
         for i in 1 2 3 4; do exec {fd}<>/dev/tcp/127.0.0.1/$port; done
         sleep 1000 & echo $BASHPID $!; read -r
       ) done`,
      );
      const watch = await Watch.of(shell);
      const [owner, daemon] = (await shell.tell(String(peer.port))).split(' ').map(Number) as [number, number];
      await until('sleep', () => commOf(daemon) === 'sleep');
      await watch.until('a finding', ({ findings }) => findings[0]?.count === 4);
      const name = nameOf(owner);
      shell.write('end');
      await watch.until('its end', ({ processes }) => processes.some(({ pid, exited }) => pid === owner && exited));
      await ssShows(daemon, 'CLOSE-WAIT', 4);
      const holders = [`${nameOf(daemon)} 4`];
      const leak = finding(daemon, { kind: 'close-wait', count: 4, ports: 4, owner: name, holders });
      await expectExact(await watch.reports(leak), shell.pid, daemon);
    },
  );

  itWith(
    'nc of OpenBSD',
    nc,
    'nc that waits for its standard input when the server has closed: close-wait, one each',
    async () => {
      await using peer = await Peer.that((socket) => socket.end('bye\n'));
      await using one = Program.start('nc', '127.0.0.1', String(peer.port));
      await one.line();
      await using two = Program.start('nc', '127.0.0.1', String(peer.port));
      await two.line();
      for (const { pid } of [one, two]) await ssShows(pid, 'CLOSE-WAIT', 1);
      const watch = await Watch.of(one, two);
      // One socket is no leak.
      const report = await watch.reports(
        finding(one.pid, { kind: 'close-wait', count: 1, ports: 1, leak: false }),
        finding(two.pid, { kind: 'close-wait', count: 1, ports: 1, leak: false }),
      );
      await expectExact(report, one.pid, two.pid);
    },
  );

  itWith('redis-server', redis, 'redis-server with clients, and a master that is not there: nothing', async () => {
    await using puppet = await Puppet.start();
    const port = await freePort();
    const options = ['--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', '/tmp'];
    await using server = Program.start('redis-server', '--port', String(port), ...options);
    await server.said(/(Ready to accept)/);
    await using clients = await Peer.that(() => {});
    const watch = await Watch.of(server);
    for (let i = 0; i < 10; i++) await clients.echo(port, 'PING\r\n', '+PONG\r\n');
    for (let i = 0; i < 10; i++) (await clients.echo(port, 'PING\r\n', '+PONG\r\n')).end();
    await clients.echo(port, `REPLICAOF 127.0.0.1 ${await refusing(puppet)}\r\n`, '+OK\r\n');
    await watch.until('it has tried twice', (report) => (failuresOf(report, server.pid)[0]?.count ?? 0) > 1);
    const report = await watch.reports();
    expect(failuresOf(report, server.pid)).toMatchObject([{ operation: 'connect', errno: 'ECONNREFUSED' }]);
    expect(report.sockets).toMatchObject({ accepted: 21 });
    expect(report.verdict).toEqual({ is: 'no-leak' });
    await expectExact(report, server.pid);
  });
});
