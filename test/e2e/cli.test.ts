// The command line: bad input, signals, closed outputs, and what stays in the kernel.
import { execFile } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterEach, describe, expect, it } from 'vitest';
import type { Report } from '../../src/report/types.ts';
import { Puppet } from '../host/puppet.ts';
import { heldBy, MAIN, nothingLeft, Socktrace, socktrace } from './socktrace.ts';

const SHORT = ['--min-age', '200ms', '--leak-age', '400ms', '--leak-count', '3'];

afterEach(async () => {
  Socktrace.killAll();
  await nothingLeft();
});

describe('bad input', () => {
  it.each([
    { name: 'not a number', args: ['--pid', 'nginx'], says: /a process id is a whole number/ },
    { name: 'no such pid', args: ['--pid', '4194303'], says: /there is no process 4194303/ },
    { name: 'kernel thread', args: ['--pid', '2'], says: /kernel thread/ },
    { name: 'pid 0', args: ['--pid', '0'], says: /a process id is a whole number/ },
    { name: 'no pid', args: ['--duration', '1s'], says: /no process given/ },
    { name: 'snapshot of no such pid', args: ['snapshot', '--pid', '4194303'], says: /there is no process 4194303/ },
    {
      name: 'snapshot of no such kind',
      args: ['snapshot', '--kind', 'magic'],
      says: /Allowed choices are connect-failed/,
    },
    {
      name: 'a kind that one look cannot tell',
      args: ['snapshot', '--kind', 'unused'],
      says: /use --kind closed-unknown/,
    },
    { name: 'two formats', args: ['--pid', '1', '--json', '--ndjson'], says: /give one of them/ },
    { name: 'a folder for a recording', args: ['report', '/proc/self'], says: /\/proc\/self is no file/ },
    { name: 'not a duration', args: ['--pid', '1', '--duration', '5'], says: /no duration/ },
    { name: 'mistyped option', args: ['--pidd', '1'], says: /did you mean --pid\?/ },
    { name: 'no such hook set', args: ['--pid', '1', '--hooks', 'magic'], says: /Allowed choices are auto/ },
    { name: 'no such user', args: ['--user', 'no such user'], says: /there is no user "no such user"/ },
    { name: 'no such cgroup', args: ['--cgroup', 'no-such.service'], says: /no cgroup, container or unit is called/ },
    { name: 'no such cgroup path', args: ['--cgroup', '/no/such'], says: /no cgroup, container or unit is called/ },
    { name: 'netns of no such pid', args: ['--netns-of', '4194303'], says: /--netns-of 4194303: / },
    { name: 'recording of no such user', args: ['record', '--user', 'no-one', '-o', '/x'], says: /there is no user/ },
    { name: 'no such command', args: ['trcae'], says: /trcae|too many arguments/ },
  ])('$name: exit 2', async ({ args, says }) => {
    const { code, stderr, stdout } = await socktrace(...args);
    expect(stderr).toMatch(says);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });

  it('a thread of a process: exit 2, and says which process', async () => {
    const { readdirSync } = await import('node:fs');
    const thread = readdirSync('/proc/self/task').find((tid) => tid !== String(process.pid)) as string;
    const { code, stderr } = await socktrace('--pid', thread);
    expect(stderr).toContain(`--pid ${process.pid}`);
    expect(code).toBe(2);
  });

  it('no privilege: exit 3, names the capabilities and the way to give them', async () => {
    await using puppet = await Puppet.start();
    const plain = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'];
    const { code, stderr, stdout } = await Socktrace.startUnder(plain, ['--pid', String(puppet.pid)]).finished();
    const [first = '', ...others] = stderr.trimEnd().split('\n');
    expect(first).toMatch(
      /^socktrace: cannot trace: this user lacks CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN: run it as root \(sudo \S.*\)$/,
    );
    // The words of libbpf are of no use to who lacks rights.
    expect(others.findIndex((line) => line.includes('EPERM'))).toBe(others.length - 1);
    expect(others.at(-1)).toMatch(/^The kernel refused: /);
    expect(stderr).not.toMatch(/RLIMIT_MEMLOCK|ulimit/);
    expect(stderr).toMatch(/^ {2}sudo setpriv .*\+bpf,\+perfmon,\+net_admin/m);
    expect({ code, stdout }).toEqual({ code: 3, stdout: '' });
  });

  it('two capabilities short: exit 3, names the one that it takes', async () => {
    await using puppet = await Puppet.start();
    const lacking = '-net_admin,-sys_admin';
    const short = ['setpriv', '--bounding-set', lacking, '--inh-caps', lacking];
    const { code, stderr } = await Socktrace.startUnder(short, ['--pid', String(puppet.pid)]).finished();
    expect(stderr).toContain('missing CAP_NET_ADMIN');
    // cgroup2 is mounted here: to open it takes no right.
    expect(stderr.match(/^missing CAP_\w+/gm)).toEqual(['missing CAP_NET_ADMIN']);
    expect(code).toBe(3);
  });

  it.each(['fentry', 'kprobe'])(
    'a hook set that this kernel refuses, by name (%s): exit 3 with its reason',
    async (set) => {
      await using puppet = await Puppet.start();
      const { code, stderr } = await socktrace('--pid', String(puppet.pid), '--hooks', set);
      expect(stderr).toMatch(/cannot trace: (load|attach|choose)/);
      expect(code).toBe(3);
    },
  );

  it('no BTF: exit 3', async () => {
    await using puppet = await Puppet.start();
    const without = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /sys/kernel/btf && exec "$@"', 'sh'];
    const { code, stderr } = await Socktrace.startUnder(without, ['--pid', String(puppet.pid)]).finished();
    expect(stderr).toContain('CONFIG_DEBUG_INFO_BTF');
    expect(code).toBe(3);
  });
});

describe('output', () => {
  it('--json is one document that the schema accepts', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const running = Socktrace.start(['--pid', String(puppet.pid), '--json', '--duration', '2s', ...SHORT]);
    await running.tracing();
    await puppet.commands('open g v4 12', 'bind g zero');
    const { code, stdout } = await running.finished();
    const report = JSON.parse(stdout) as Report;
    const schema = JSON.parse(readFileSync(new URL('../../src/report/report.schema.json', import.meta.url), 'utf8'));
    const validate = new Ajv2020({ allErrors: true, strict: false }).compile(schema);
    expect(validate(report), JSON.stringify(validate.errors)).toBe(true);
    expect(report.verdict.is).toBe('leak');
    expect(report.findings).toMatchObject([{ kind: 'bound-inactive', count: 12, ports: 12, leak: true }]);
    expect(code).toBe(0);
  });

  it('--ndjson: every line is JSON, the last is the report', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const running = Socktrace.start(['--pid', String(puppet.pid), '--ndjson', '--duration', '1s', ...SHORT]);
    await running.tracing();
    await puppet.command('open g v6 5');
    const { stdout } = await running.finished();
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string });
    expect(lines[0]?.type).toBe('session');
    expect(lines.filter(({ type }) => type === 'socket')).toHaveLength(5);
    expect(lines.at(-1)?.type).toBe('report');
  });

  it('--events all shows each change of a socket', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const running = Socktrace.start(['--pid', String(puppet.pid), '--events', 'all', ...SHORT]);
    await running.tracing();
    await puppet.commands('open g v4 1', 'bind g 20000', 'connect g lo 9', 'close g');
    await running.said(/destroyed in CLOSE/);
    running.child.kill('SIGINT');
    const { stderr } = await running.finished();
    for (const line of [/opened$/m, /bind port 20000$/m, /CLOSE -> SYN_SENT/, /= ECONNREFUSED$/m, /released$/m])
      expect(stderr).toMatch(line);
  });

  it('a name that no process has is no all-clear', async () => {
    await using _running = await Puppet.start({ netns: true });
    const { code, stdout, stderr } = await socktrace('--comm', 'pupet', '--duration', '300ms', '--fail-on-leak');
    expect(stderr).toContain('no process matches yet');
    expect(stderr).toContain('did you mean --comm puppet?');
    expect(stdout).toMatch(/^NOT KNOWN.*\n {2}no process that matches what was to be traced/);
    expect(code).toBe(11);
  });

  it('--fail-on-leak: 10 for a leak, 0 for none', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const args = ['--pid', String(puppet.pid), '--fail-on-leak', '--duration', '1500ms', ...SHORT];
    expect((await socktrace(...args)).code).toBe(0);
    await puppet.command('open g v4 12');
    expect((await socktrace(...args)).code).toBe(10);
  });

  it('--fail-on-leak: 11 when it cannot be known', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const running = Socktrace.start([
      '--pid',
      String(puppet.pid),
      '--fail-on-leak',
      '--duration',
      '1500ms',
      '--max-sockets',
      '16',
      ...SHORT,
    ]);
    await running.tracing();
    await puppet.commands('open g v4 50', 'close g');
    const { code, stdout } = await running.finished();
    expect(stdout).toMatch(/not known/i);
    expect(code).toBe(11);
  });

  it('--help into a pipe that closes early: quiet, exit 0', async () => {
    const { stdout } = await promisify(execFile)('bash', [
      '-c',
      'set -o pipefail; "$0" "$1" --help 2>&1 | head -n 1; echo "status $PIPESTATUS"',
      process.execPath,
      MAIN,
    ]);
    expect(stdout).toBe('Examples:\nstatus 0\n');
  });

  it('a full disk: said, exit 1', async () => {
    await using puppet = await Puppet.start();
    const full = openSync('/dev/full', 'w');
    const running = Socktrace.start(['--pid', String(puppet.pid), '--json', '--duration', '300ms'], {
      stdio: ['ignore', full, 'pipe'],
    });
    const { code, stderr } = await running.finished();
    closeSync(full);
    expect(stderr).toContain('ENOSPC');
    expect(code).toBe(1);
  });

  it('on a simple terminal: a status line that is rewritten, and gone at the end', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const command = `${process.execPath} ${MAIN} --pid ${puppet.pid} --duration 1500ms`;
    const { stdout } = await promisify(execFile)('script', ['-qec', command, '/dev/null'], {
      env: { ...process.env, TERM: 'dumb' },
    });
    const drawn = stdout.split('\r\x1b[K');
    expect(drawn.length).toBeGreaterThan(2);
    expect(drawn[1]).toContain('held');
    expect(stdout).toContain('ACCOUNTS');
  });

  it('stdout closed early: a quiet end', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const running = Socktrace.start(['--pid', String(puppet.pid), '--ndjson', ...SHORT]);
    await running.tracing();
    running.child.stdout?.destroy();
    await puppet.command('open g v4 50');
    const { code, stderr } = await running.finished();
    expect(code).toBe(0);
    expect(stderr).not.toMatch(/EPIPE|error/i);
  });
});

describe('ends', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('%s once: detaches and reports', async (signal) => {
    await using puppet = await Puppet.start({ netns: true });
    const running = Socktrace.start(['--pid', String(puppet.pid), ...SHORT]);
    await running.tracing();
    await puppet.command('open g v4 5');
    running.child.kill(signal);
    const { code, stdout } = await running.finished();
    expect(stdout).toContain('ACCOUNTS');
    expect(code).toBe(0);
  });

  it('SIGINT twice: ends at once, with or without the report', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const running = Socktrace.start(['--pid', String(puppet.pid), ...SHORT]);
    await running.tracing();
    running.child.kill('SIGINT');
    running.child.kill('SIGINT');
    const { code } = await running.finished();
    expect([0, 130]).toContain(code);
  });

  it('the target exits: the report comes by itself', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const running = Socktrace.start(['--pid', String(puppet.pid), ...SHORT]);
    await running.tracing();
    await puppet.command('open g v4 5');
    await puppet.kill();
    const { code, stdout } = await running.finished();
    expect(stdout).toMatch(/5/);
    expect(stdout).toContain('unused');
    expect(code).toBe(0);
  });

  it('kill -9: nothing stays in the kernel, and the traced process goes on', async () => {
    await using puppet = await Puppet.start({ netns: true });
    const running = Socktrace.start(['--pid', String(puppet.pid), ...SHORT]);
    await running.tracing();
    expect(heldBy(String(running.child.pid)).length).toBeGreaterThan(20);
    running.child.kill('SIGKILL');
    await running.finished();
    await nothingLeft();
    expect((await puppet.command('open g v4 5')).count).toBe(5);
  });
});
