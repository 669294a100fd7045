// `socktrace run` around the tests of others: packages of npm that ship theirs, pytest, and make with its job server.
import { execFile, spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import type { Report } from '../../src/report/types.ts';
import { notRun } from '../host/not-run.ts';
import { until } from './programs.ts';
import { MAIN, nothingLeft, Socktrace } from './socktrace.ts';

const execute = promisify(execFile);
const SUITES = new URL('suites/', import.meta.url);
const UNREACHABLE = [
  'EAI_AGAIN',
  'ENOTFOUND',
  'ECONNREFUSED',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'ETIMEDOUT',
  'ENOTCACHED',
];
let folder = '';
/** why the packages are not there; null when they are */
let notInstalled: string | null = null;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'socktrace-suites-'));
  for (const name of ['package.json', 'package-lock.json']) copyFileSync(new URL(name, SUITES), join(folder, name));
  // Not `npm ci`, which takes the packages that socksv5 brings with it for a lock file out of date.
  const args = ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'];
  const { status, stderr } = spawnSync('npm', args, { cwd: folder, encoding: 'utf8' });
  if (status === 0) return;
  const code = /^npm error code (\S+)$/m.exec(stderr)?.[1] ?? '';
  if (!UNREACHABLE.includes(code)) throw new Error(`npm install: ${stderr}`);
  notInstalled = `npm cannot fetch the packages whose tests these are (${code})`;
});

afterAll(() => rmSync(folder, { recursive: true }));

afterEach(async () => {
  Socktrace.killAll();
  await nothingLeft();
});

/** In the folder of a package, as `npm test` there would run it. */
function inPackage(context: TestContext, name: string, args: readonly string[]): Socktrace {
  if (notInstalled !== null) notRun(context, notInstalled);
  const modules = join(folder, 'node_modules');
  const env = { ...process.env, PATH: [join(modules, '.bin'), process.env['PATH']].join(delimiter) };
  return Socktrace.start(['run', ...args], { cwd: join(modules, name), env });
}

function reportIn(file: string): Report {
  return JSON.parse(readFileSync(file, 'utf8')) as Report;
}

describe('a suite of npm', () => {
  it('hyperquest: 35 servers and their clients, all closed', async (context) => {
    const file = join(folder, 'hyperquest.json');
    const running = inPackage(context, 'hyperquest', [
      ...['--fail-on-leak', '--json', '-o', file],
      ...['--', 'sh', '-c', 'tape test/*.js'],
    ]);
    const { code, stdout, stderr } = await running.finished();
    expect(stdout).toMatch(/^# pass {2}40$/m);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const { verdict, sockets } = reportIn(file);
    expect(verdict).toEqual({ is: 'no-leak' });
    expect(sockets.accepted).toBeGreaterThanOrEqual(35);
    expect(sockets).toMatchObject({ destroyed: (sockets.opened ?? 0) + (sockets.accepted ?? 0), held: 0 });
  });

  // Its socksv5 server stops reading from a client whose destination has ended, with the client's last bytes unread: it
  // never sees that connection's end, so that it cannot be closed, and the hook that waits for it fails.
  it('socks-proxy-agent: never ends, for a connection of its proxy that is over and was not closed', async (context) => {
    const minAgeMs = 500;
    const file = join(folder, 'socks.json');
    const running = inPackage(context, 'socks-proxy-agent', [
      ...['--fail-on-leak', '--min-age', `${minAgeMs}ms`, '--json', '-o', file],
      ...['--', '_mocha'],
    ]);
    await running.printed(/1 failing/);
    const pid = await commandOf(running);
    let since = 0;
    const descriptor = await until('lsof has shown a closed connection for a while', async () => {
      const { stdout } = await execute('lsof', ['-nP', '-a', '-p', `${pid}`, '-d', '3-999']).catch((error) => error);
      const fd = /^\S+ +\d+ +\S+ +(\d+)u +sock .*protocol: TCP/m.exec(stdout)?.[1];
      if (fd === undefined) since = 0;
      else if (since === 0) since = performance.now();
      return since !== 0 && performance.now() - since > 2 * minAgeMs ? (fd ?? null) : null;
    });
    expect(Number(descriptor)).toBeGreaterThan(2);
    running.child.kill('SIGTERM');
    const { code, stderr } = await running.finished();
    expect(stderr).toContain('SUMMARY: socktrace: 1 socket in 1 finding leaked by _mocha');
    expect(code).toBe(143);
    expect(reportIn(file).findings).toMatchObject([{ kind: 'disconnected', count: 1, heldAtExit: 1, leak: true }]);
  });
});

describe('pytest', () => {
  const LEAKING = `import socket, threading
def test_leaves_a_worker():
    ready = threading.Event()
    def work():
        held = [socket.socket() for _ in range(3)]
        for one in held: one.bind(("127.0.0.1", 0))
        ready.set()
        threading.Event().wait()
    threading.Thread(target=work, daemon=True).start()
    assert ready.wait(60)
`;
  const CLEAN = `import socket
def test_talks():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        served, _ = server.accept()
        with served:
            client.sendall(b"x")
            assert served.recv(1) == b"x"
`;

  it.each([
    {
      name: 'leaking',
      source: LEAKING,
      code: 10,
      says: /^LEAK {2}\S+\[\d+\] exited with 3 sockets bound and never used/,
    },
    { name: 'clean', source: CLEAN, code: 0, says: /^$/ },
  ])('of a $name test', async ({ name, source, code, says }) => {
    const file = join(folder, `test_${name}.py`);
    writeFileSync(file, source);
    const args = ['run', '--fail-on-leak', '--', 'pytest-3', '-q', '-p', 'no:cacheprovider', file];
    const { code: got, stdout, stderr } = await Socktrace.start(args).finished();
    expect(stdout).toMatch(/^1 passed/m);
    expect(stderr).toMatch(says);
    expect(got).toBe(code);
  });
});

describe('make', () => {
  const LEAK = `python3 -c 'import os,socket; s=socket.socket(); s.bind(("127.0.0.1", 0)); os._exit(0)'`;

  it('-j2 check: every recipe is traced, and its status is make’s', async () => {
    const file = join(folder, 'Makefile');
    const report = join(folder, 'make.json');
    writeFileSync(file, `check: a b\na b:\n\t@${LEAK}; echo done $@\nfail:\n\t@exit 3\n`);
    const make = (target: string): Promise<{ code: number | null; stdout: string; stderr: string }> =>
      Socktrace.start([
        'run',
        '--fail-on-leak',
        '--json',
        '-o',
        report,
        '--',
        'make',
        '-f',
        file,
        '-j2',
        target,
      ]).finished();
    const { code, stdout, stderr } = await make('check');
    expect(stdout.split('\n').sort()).toEqual(['', 'done a', 'done b']);
    expect(stderr).toMatch(/^SUMMARY: socktrace: 2 sockets in \d findings? leaked by make /);
    expect(code).toBe(10);
    expect(reportIn(report).sockets.opened).toBe(2);
    expect((await make('fail')).code).toBe(2);
  });

  // By a pipe at two descriptors of any number: without them make says so, and goes on with one job.
  it('in a recipe: the job server reaches the make that it runs', async () => {
    const file = join(folder, 'Outer');
    const run = `'${process.execPath}' '${MAIN}' run --`;
    const both = `@echo >$@.started; while ! [ -e a.started -a -e b.started ]; do sleep 0.05; done; echo $@`;
    writeFileSync(file, `check:\n\t+@${run} $(MAKE) -f Outer inner\ninner: a b\na b:\n\t${both}\n`);
    const { stdout, stderr } = await execute('make', ['-f', 'Outer', '-j2', 'check'], { cwd: folder });
    expect(stderr).toBe('');
    expect(stdout).toMatch(/^a$/m);
    expect(stdout).toMatch(/^b$/m);
  });
});

/** The process that the command has become. */
async function commandOf({ child }: Socktrace): Promise<number> {
  const { stdout } = await execute('pgrep', ['-P', `${child.pid}`, '-f', '_mocha']);
  return Number(stdout.trim());
}
