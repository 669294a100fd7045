// `socktrace run`: exit statuses, signals, the terminal, and what it says of commands that leak and of clean ones.
import { execFile, spawn } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Report } from '../../src/report/types.ts';
import { builtProgram } from '../host/puppet.ts';
import { MAIN, nothingLeft, Socktrace, socktrace } from './socktrace.ts';
import { Terminal } from './terminal.ts';

const execute = promisify(execFile);
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'socktrace-run-'));
  writeFileSync(join(folder, 'leak.py'), LEAK);
  writeFileSync(join(folder, 'clean.py'), CLEAN);
});

afterAll(() => rmSync(folder, { recursive: true }));

afterEach(async () => {
  Socktrace.killAll();
  await nothingLeft();
});

/** Exits with three bound sockets, and the status it is given. */
const LEAK = `import os, socket, sys
held = [socket.socket() for _ in range(3)]
for one in held: one.bind(("127.0.0.1", 0))
os._exit(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
`;

/** Uses a connection, and closes all. */
const CLEAN = `import socket
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
served, _ = server.accept()
client.sendall(b"x")
assert served.recv(1) == b"x"
for one in (client, served, server): one.close()
`;

function run(...args: string[]): ReturnType<typeof socktrace> {
  return socktrace('run', ...args);
}

const leak = (...args: string[]): string[] => ['python3', join(folder, 'leak.py'), ...args];
const clean = (): string[] => ['python3', join(folder, 'clean.py')];

describe('the exit status', () => {
  it.each([
    { name: "the command's", args: ['--', 'sh', '-c', 'exit 7'], code: 7 },
    { name: "the command's, of more than a byte's half", args: ['--', 'sh', '-c', 'exit 200'], code: 200 },
    { name: '0', args: ['--', 'true'], code: 0 },
    { name: '128 and the signal', args: ['--', 'sh', '-c', 'kill -9 $$'], code: 137 },
    { name: '127, not found', args: ['--', 'no-such-command'], code: 127 },
    { name: '127, no such path', args: ['--', '/no/such/command'], code: 127 },
    { name: '126, not executable', args: ['--', '/etc/passwd'], code: 126 },
    { name: '126, a directory', args: ['--', '/tmp'], code: 126 },
    { name: '125, no command', args: [], code: 125 },
    { name: '125, no such option', args: ['--no-such-option', '--', 'true'], code: 125 },
    { name: '125, no such hook set', args: ['--hooks', 'magic', '--', 'true'], code: 125 },
    { name: '125, an unwritable report', args: ['-o', '/no/such/folder/report', '--', 'true'], code: 125 },
    { name: '125, an unreadable file of patterns', args: ['--allow-file', '/no/such', '--', 'true'], code: 125 },
    { name: '125, a pattern that allows all', args: ['--allow', '*', '--', 'true'], code: 125 },
  ])('$name', async ({ args, code }) => {
    const { code: got, stdout } = await run(...args);
    expect({ got, stdout }).toEqual({ got: code, stdout: '' });
  });

  it('of a leak: the command’s, and 10 with --fail-on-leak when that is 0', async () => {
    expect((await run('--', ...leak())).code).toBe(0);
    expect((await run('--fail-on-leak', '--', ...leak())).code).toBe(10);
    expect((await run('--fail-on-leak', '--', ...leak('3'))).code).toBe(3);
    expect((await run('--fail-on-leak', '--', ...clean())).code).toBe(0);
  });

  it('11 with --fail-on-leak when it cannot be known', async () => {
    const many = 'import socket\nfor _ in range(20):\n  a = [socket.socket() for _ in range(50)]';
    const { code, stderr } = await run('--fail-on-leak', '--max-sockets', '16', '--', 'python3', '-c', many);
    expect(stderr).toMatch(/NOT KNOWN/);
    expect(code).toBe(11);
  });

  it('125 for --debuginfod without servers, and the command is not run; an unreachable one costs its status nothing', async () => {
    const args = ['run', '--debuginfod', '--', 'sh', '-c', 'echo ran; exit 4'];
    const withServers = (urls: string) =>
      Socktrace.start(args, { env: { ...process.env, DEBUGINFOD_URLS: urls } }).finished();
    const refused = await withServers('');
    expect(refused).toMatchObject({ code: 125, stdout: '' });
    expect(refused.stderr).toMatch(/DEBUGINFOD_URLS|not installed/);
    const unreachable = await withServers('http://127.0.0.1:9');
    if (unreachable.code !== 125) expect(unreachable).toMatchObject({ code: 4, stdout: 'ran\n' });
    else expect(unreachable.stderr).toContain('debuginfod-find is not installed');
  });

  it('125 without privilege, and the command is not run', async () => {
    const mark = join(folder, 'must-not-exist');
    const plain = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'];
    const { code, stderr } = await Socktrace.startUnder(plain, ['run', '--', 'touch', mark]).finished();
    expect(stderr).toContain('CAP_BPF');
    expect(code).toBe(125);
    expect(() => readFileSync(mark)).toThrow();
  });
});

describe('what is said', () => {
  it('nothing of a clean command', async () => {
    const { stdout, stderr } = await run('--', ...clean());
    expect({ stdout, stderr }).toEqual({ stdout: '', stderr: '' });
  });

  it('a leak, on stderr, after what the command says; its stdout stays its own', async () => {
    const { stdout, stderr } = await run('--', 'sh', '-c', `echo out; echo err >&2; exec ${leak().join(' ')}`);
    expect(stdout).toBe('out\n');
    expect(stderr).toMatch(/^err\nLEAK {2}python3\[\d+\] exited with 3 sockets bound and never used, 3 ports/);
    expect(stderr).toMatch(/\nSUMMARY: socktrace: 3 sockets in 1 finding leaked by sh -c [^\n]*\n$/);
  });

  it('-o FILE --json: the document, which the schema accepts, and one line on stderr', async () => {
    const file = join(folder, 'report.json');
    const { stderr } = await run('--json', '-o', file, '--', ...leak());
    expect(stderr).toBe(
      `SUMMARY: socktrace: 3 sockets in 1 finding leaked by python3 ${join(folder, 'leak.py')}: ${file}\n`,
    );
    const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
    const schema = JSON.parse(readFileSync(new URL('../../src/report/report.schema.json', import.meta.url), 'utf8'));
    const validate = new Ajv2020({ allErrors: true, strict: false }).compile(schema);
    expect(validate(report), JSON.stringify(validate.errors)).toBe(true);
    expect(report.target.command).toEqual(leak());
    expect(report.findings).toMatchObject([{ kind: 'bound-inactive', count: 3, ports: 3, heldAtExit: 3, leak: true }]);
    expect(report.sockets).toMatchObject({ opened: 3, preexisting: 0, arrived: 0, held: 0 });
  });

  it('-o FILE of a clean command: the whole text', async () => {
    const file = join(folder, 'report.txt');
    const { stderr } = await run('-o', file, '--', ...clean());
    expect(stderr).toBe('');
    expect(readFileSync(file, 'utf8')).toMatch(/^NO LEAK in /);
  });
});

describe('--allow', () => {
  it.each([
    { what: 'the name', patterns: ['^python3$'] },
    { what: 'the kind', patterns: ['^bound-inactive:'] },
    { what: 'the second of two', patterns: ['nothing', 'thon3'] },
  ])('by $what: no leak, and it is listed', async ({ patterns }) => {
    const { code, stderr } = await run(
      '--fail-on-leak',
      ...patterns.flatMap((pattern) => ['--allow', pattern]),
      '--',
      ...leak(),
    );
    const [first, ...others] = stderr.trimEnd().split('\n');
    expect(first).toMatch(/^socktrace: allowed by ".*": 3 bound-inactive sockets of python3\[\d+\]$/);
    expect(others).toEqual(
      patterns.slice(0, -1).map((pattern) => expect.stringContaining(`--allow "${pattern}" matches nothing`)),
    );
    expect(code).toBe(0);
  });

  it('by a function of the call path', async () => {
    const code = (...options: string[]) =>
      run(
        '--fail-on-leak',
        ...options,
        '--',
        builtProgram('leaky-service'),
        'unused',
        '--max',
        '20',
        '--lifetime',
        '1',
      );
    expect((await code()).code).toBe(10);
    const { code: allowed, stderr } = await code('--allow', '^open_backend_connection$');
    expect(stderr).toContain('allowed by');
    expect(allowed).toBe(0);
  });

  it('of what a clean command never did is said, and changes no verdict', async () => {
    expect(await run('--fail-on-leak', '--allow', 'warm_pool', '--', ...clean())).toMatchObject({
      code: 0,
      stderr: 'socktrace: --allow "warm_pool" matches nothing that was found: out of date, or misspelt?\n',
    });
  });

  it('of a file, with comments; another pattern allows nothing', async () => {
    const file = join(folder, 'allowed');
    writeFileSync(file, '# expected\n\n  ^python3$  \n');
    expect((await run('--fail-on-leak', '--allow-file', file, '--', ...leak())).code).toBe(0);
    expect((await run('--fail-on-leak', '--allow', '^python$', '--', ...leak())).code).toBe(10);
  });
});

describe('what is traced', () => {
  it('the first instruction: a program without libc whose first system call is socket()', async () => {
    const source = join(folder, 'first.c');
    // socket(AF_INET, SOCK_STREAM, 0), then exit_group(0) with it.
    writeFileSync(
      source,
      `void _start(void) {
        long r;
        asm volatile("syscall" : "=a"(r) : "a"(41), "D"(2), "S"(1), "d"(0) : "rcx", "r11", "memory");
        asm volatile("syscall" : "=a"(r) : "a"(231), "D"(0) : "rcx", "r11", "memory");
        for (;;) ;
      }`,
    );
    const program = join(folder, 'first');
    await execute('cc', ['-O1', '-nostdlib', '-static', '-o', program, source]);
    const file = join(folder, 'first.json');
    for (let i = 0; i < 5; i++) {
      await run('--json', '-o', file, '--', program);
      const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
      expect(report.sockets.opened).toBe(1);
      expect(report.findings).toMatchObject([{ kind: 'unused', count: 1, heldAtExit: 1 }]);
    }
  });

  it('every process of a shell pipeline', async () => {
    const file = join(folder, 'pipeline.json');
    const one = `python3 ${join(folder, 'leak.py')}`;
    const { stdout } = await run('--json', '-o', file, '--', 'sh', '-c', `{ ${one}; echo x; } | { cat; ${one} 0; }`);
    expect(stdout).toBe('x\n');
    const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
    expect(report.findings.reduce((sum, { count }) => sum + count, 0)).toBe(6);
    expect(report.sockets.opened).toBe(6);
  });

  it.each([
    {
      name: 'leaks',
      body: 'server.close(); held = new net.Socket(); require("node:child_process").execFileSync("python3", [process.env.LEAK])',
      code: 10,
    },
    { name: 'is clean', body: 'server.close()', code: 0 },
  ])('npm test of a package that $name', async ({ body, code }) => {
    const home = join(folder, `package-${code}`);
    mkdirSync(home);
    writeFileSync(join(home, 'package.json'), '{"name":"p","version":"1.0.0","scripts":{"test":"node --test"}}');
    writeFileSync(
      join(home, 'a.test.js'),
      `const net = require("node:net"); const test = require("node:test"); let held;
      test("connects", (t, done) => {
        const server = net.createServer((socket) => socket.end("x")).listen(0, "127.0.0.1", () => {
          const client = net.connect(server.address().port, "127.0.0.1");
          client.resume().on("close", () => { ${body}; done(); });
        });
      });`,
    );
    const env = { ...process.env, LEAK: join(folder, 'leak.py') };
    const running = Socktrace.start(['run', '--fail-on-leak', '--', 'npm', 'test'], { cwd: home, env });
    const { code: got, stdout, stderr } = await running.finished();
    expect(stdout).toMatch(/pass 1/);
    if (code === 0) expect(stderr).toBe('');
    else expect(stderr).toMatch(/^LEAK {2}python3\[\d+\] exited with 3 sockets/);
    expect(got).toBe(code);
  });
});

describe('input, output and signals', () => {
  it('stdin and stdout are the command’s, whole, into a slow reader too', async () => {
    const { stdout } = await execute('bash', [
      '-c',
      'set -o pipefail; head -c 3000000 /dev/zero | "$0" "$1" run -- cat | { sleep 0.5; wc -c; }; echo "$?"',
      process.execPath,
      MAIN,
    ]);
    expect(stdout).toBe('3000000\n0\n');
  });

  it('descriptors that it was started with are the command’s too, at their numbers; ours are not', async () => {
    const file = join(folder, 'given');
    writeFileSync(file, 'from a file\n');
    const list = 'for fd in /proc/self/fd/*; do echo "$(basename $fd) $(readlink $fd)"; done';
    const line = (run: string): string =>
      `exec 3>&1 5<"$2" 20> >(cat >&3); exec ${run} bash -c '${list}; cat <&5; echo to >&20'`;
    const listed = async (run: string, options = ''): Promise<string[]> => {
      const env = { ...process.env, NODE_OPTIONS: options };
      const { stdout } = await execute('bash', ['-c', line(run), process.execPath, MAIN, file], { env });
      // Those that the list itself opens are at numbers of their own, and so are the pipes each time.
      return stdout
        .replaceAll(/\d+\]/g, ']')
        .split('\n')
        .filter((one) => !one.includes('/fd'))
        .sort();
    };
    const plain = await listed('env');
    expect(plain).toEqual(expect.arrayContaining([`5 ${file}`, 'from a file', 'to']));
    expect(await listed('"$0" "$1" run --')).toEqual(plain);
    expect(await listed('"$0" "$1" run --', '--inspect=127.0.0.1:0')).toEqual(plain);
  });

  it.each([
    { number: 3, limit: 1024 },
    { number: 400, limit: 300 },
  ])(
    'descriptors that it was started with are open for as long as the command has them ($number of $limit)',
    async ({ number, limit }) => {
      const told = join(folder, 'told');
      writeFileSync(told, '');
      const wait = `exec ${number}>&-; until grep -q end "$0"; do sleep 0.05; done`;
      const line = `exec ${number}> >(cat; echo end >"$2"); ulimit -n ${limit}; exec "$0" "$1" run -- bash -c '${wait}' "$2"`;
      await execute('bash', ['-c', line, process.execPath, MAIN, told], { timeout: 60_000 });
    },
  );

  it('stdin that is closed, or at its end', async () => {
    const line = (redirection: string) => [
      '-c',
      `"$0" "$1" run -- cat ${redirection}; echo "$?"`,
      process.execPath,
      MAIN,
    ];
    expect((await execute('bash', line('</dev/null'))).stdout).toBe('0\n');
    expect((await execute('bash', line('<&-'))).stdout).toBe('0\n');
  });

  it('a program that is setuid gets its rights', async () => {
    const program = join(folder, 'setuid-id');
    copyFileSync('/usr/bin/id', program);
    chmodSync(folder, 0o755);
    chmodSync(program, 0o4755);
    const plain = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'];
    const { stdout } = await run('--', ...plain, program, '--user');
    expect(stdout).toBe('0\n');
    expect((await run('--', 'grep', '^NoNewPrivs', '/proc/self/status')).stdout).toBe('NoNewPrivs:\t0\n');
  });

  it('a command that leaves a daemon behind ends when it ends, and the daemon goes on', async () => {
    const daemon =
      'import socket, time; held = socket.socket(); held.bind(("127.0.0.1", 0)); print("up", flush=True); time.sleep(1000)';
    const script = `setsid python3 -c '${daemon}' >"$0" 2>&1 </dev/null & echo $!; until grep -q up "$0"; do sleep 0.05; done`;
    const mark = join(folder, 'daemon');
    const { code, stdout, stderr } = await run('--fail-on-leak', '--', 'sh', '-c', script, mark);
    const pid = Number(stdout);
    try {
      // It may use its socket yet.
      expect(stderr).toMatch(/^NOT KNOWN/m);
      expect(code).toBe(11);
      expect(readFileSync(`/proc/${pid}/comm`, 'utf8')).toBe('python3\n');
    } finally {
      process.kill(pid, 'SIGKILL');
    }
  });

  it('a terminal that changes its size tells the command', async () => {
    await using terminal = await Terminal.open({ columns: 80, rows: 24 });
    const script = `trap "stty size" WINCH; echo rea""dy; while :; do sleep 0.05; done`;
    await terminal.socktrace(`run -- bash -c '${script}'`);
    await terminal.shows(/^ready$/m);
    await terminal.resize({ columns: 100, rows: 30 });
    await terminal.shows(/^30 100$/m);
    await terminal.keys('C-c');
    await terminal.shows(/status 130$/m);
  });

  it.each(['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGUSR1'] as const)(
    '%s goes to the command, whose end is waited for',
    async (signal) => {
      const script = `trap 'echo got; exit 5' ${signal.slice(3)}; echo ready >&2; while :; do sleep 0.05; done`;
      const running = Socktrace.start(['run', '--', 'sh', '-c', script]);
      await running.said(/ready/);
      running.child.kill(signal);
      const { code, stdout } = await running.finished();
      expect({ code, stdout }).toEqual({ code: 5, stdout: 'got\n' });
    },
  );

  it('a command that a signal ends is reported with what it held', async () => {
    const script =
      'import socket,sys,time\ns=socket.socket()\nprint("ready",file=sys.stderr,flush=True)\ntime.sleep(100)';
    const running = Socktrace.start(['run', '--', 'python3', '-c', script]);
    await running.said(/ready/);
    running.child.kill('SIGTERM');
    const { code, stderr } = await running.finished();
    expect(stderr).toMatch(/LEAK {2}python3\[\d+\] exited with 1 socket /);
    expect(code).toBe(143);
  });

  /** Runs a shell line on a terminal of its own; `keys` are typed when it has said `after`. */
  function onTerminal(line: string, after: string, keys: string): Promise<string> {
    const driver = `import os, pty, sys
line, after, keys = sys.argv[1], sys.argv[2].encode(), sys.argv[3].encode()
pid, fd = pty.fork()
if pid == 0: os.execvp("bash", ["bash", "--norc", "-ic" if keys == b"\\x1a" else "-c", line])
said, typed = b"", False
while True:
  try: part = os.read(fd, 4096)
  except OSError: break
  if not part: break
  said += part
  if not typed and after in said:
    typed = True
    os.write(fd, keys)
_, status = os.waitpid(pid, 0)
sys.stdout.write(said.decode() + "status %d" % os.waitstatus_to_exitcode(status))
`;
    return new Promise((resolve, reject) => {
      const child = spawn('python3', ['-c', driver, line, after, keys], { stdio: ['ignore', 'pipe', 'inherit'] });
      let said = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        said += text;
      });
      child.once('error', reject);
      child.once('close', () => resolve(said.replaceAll('\r', '')));
    });
  }

  const traced = (command: string): string => `"${process.execPath}" "${MAIN}" run -- ${command}`;

  it('a terminal is the command’s: it is one, and takes what is typed', async () => {
    const said = await onTerminal(
      traced(
        `sh -c '[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && stty size >/dev/null && echo rea''dy && read line && echo "<$line>"'`,
      ),
      'ready',
      'typed\n',
    );
    expect(said).toContain('<typed>');
    expect(said).toMatch(/status 0$/);
  });

  it('Ctrl-C reaches the command once, and socktrace reports', async () => {
    const script = `import signal, socket, sys, time
got = []
signal.signal(signal.SIGINT, lambda *_: got.append(1))
held = socket.socket()
print("rea" + "dy", flush=True)
while not got: time.sleep(0.01)
time.sleep(0.5)
print("interrupted", len(got), flush=True)
sys.exit(4)
`;
    const file = join(folder, 'interrupted.py');
    writeFileSync(file, `${script.replace('sys.exit(4)', 'import os; os._exit(4)')}`);
    const said = await onTerminal(traced(`python3 ${file}`), 'ready', '\x03');
    expect(said).toContain('interrupted 1\n');
    expect(said).toMatch(/LEAK.*exited with 1 socket/);
    expect(said).toMatch(/status 4$/);
  });

  it('Ctrl-Z stops both, and fg goes on with both', async () => {
    const said = await onTerminal(
      `set -m; ${traced(`sh -c 'echo rea""dy; sleep 1; echo ended'`)}; echo "stopped $?"; fg >/dev/null; echo "status was $?"`,
      'ready',
      '\x1a',
    );
    expect(said).toMatch(/stopped 148/);
    expect(said).toMatch(/ended\n(.*\n)*status was 0/);
  });
});
