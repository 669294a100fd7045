import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Ajv } from 'ajv';
import { Profile } from 'pprof-format';
import { describe, expect, it } from 'vitest';
import { renderFolded } from '../../src/render/folded.ts';
import { renderPprof } from '../../src/render/pprof.ts';
import { renderSpeedscope } from '../../src/render/speedscope.ts';
import type { Report } from '../../src/report/types.ts';
import { notRun } from '../host/not-run.ts';
import { frame, process } from './facts.ts';
import { incidentWithPaths, reportOf } from './sample-report.ts';

const report = reportOf(incidentWithPaths());

/** The same with an inlined function, a frame without a name, and names that are no names. */
function hostileReport(): Report {
  const inputs = incidentWithPaths().map((input) => {
    if (input.type === 'path' && input.path.id === 'open1') {
      const [socket, acquire, ...rest] = input.path.frames;
      if (socket === undefined || acquire === undefined) throw new Error('the sample has no frames');
      const inlined = frame('evil;name 7\u001b[2J\n', 'leak_worker.c:40', { how: 'inlined', offset: acquire.offset });
      const nameless = frame(null, null, { offset: '0xffffffffffffffff', module: '[jit]', buildId: null });
      return { ...input, path: { ...input.path, frames: [socket, inlined, acquire, nameless, ...rest] } };
    }
    return input.type === 'process' && input.facts.comm === 'leakyd' ? process({ comm: 'le;ak\u202e' }) : input;
  });
  return reportOf(inputs);
}

const OPENED = 'leakyd;_start;__libc_start_main;__libc_start_call_main;main;service_loop;acquire_port;socket';
const BOUND = 'leakyd;_start;__libc_start_main;__libc_start_call_main;main;service_loop;acquire_port;try_bind;bind';

describe('folded stacks', () => {
  it('of a program that has no name begin with a frame all the same', () => {
    const nameless = reportOf(
      incidentWithPaths().map((input) =>
        input.type === 'process' && input.facts.comm === 'leakyd' ? process({ comm: '' }) : input,
      ),
    );
    const lines = renderFolded(nameless, 'sockets').trimEnd().split('\n');
    expect(lines.some((line) => line.startsWith('(no name);'))).toBe(true);
    for (const line of lines) expect(line).not.toMatch(/^;|;;/);
  });

  it('count suspects where they were opened, ports where they were bound, failed calls where they were made', () => {
    expect(renderFolded(report, 'sockets')).toBe(`${OPENED} 41\n`);
    expect(renderFolded(report, 'ports')).toBe(`${BOUND} 12\n`);
    expect(renderFolded(report, 'failures')).toBe(`${BOUND} 29\nftp;[call path not captured] 12\n`);
  });

  it('stay one line a stack, whatever names are', () => {
    const lines = renderFolded(hostileReport(), 'sockets').split('\n');
    expect(lines).toHaveLength(2);
    expect(lines[0]).toMatch(/^le:ak\\u\{202e\};_start;.*;\[jit\]\+0xffffffffffffffff;acquire_port;.* 41$/);
    expect(lines[0]?.split(';')).toHaveLength(10);
    expect(lines[0]).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });
});

describe('the pprof profile', () => {
  const decode = (of: Report): Profile => Profile.decode(gunzipSync(renderPprof(of)));
  const textOf = ({ stringTable }: Profile, index: number | bigint): string => stringTable.strings[Number(index)] ?? '';

  it('is read back with its values, labels, mappings and time', () => {
    const profile = decode(report);
    expect(profile.sampleType.map(({ type }) => textOf(profile, type))).toEqual(['sockets', 'ports', 'failures']);
    const total = (i: number): number => profile.sample.reduce((sum, { value }) => sum + Number(value[i]), 0);
    expect([total(0), total(1), total(2)]).toEqual([41, 12, 41]);
    const labels = profile.sample[0]?.label.map(({ key, str, num }) => [
      textOf(profile, key),
      textOf(profile, str) || Number(num),
    ]);
    expect(labels).toEqual([
      ['kind', 'bind-failed'],
      ['errno', 'EADDRINUSE'],
      ['pid', 1234],
      ['comm', 'leakyd'],
      ['leak', 'true'],
    ]);
    const [main] = profile.mapping;
    expect(textOf(profile, main?.filename ?? 0)).toBe('/usr/sbin/leakyd');
    expect(textOf(profile, main?.buildId ?? 0)).toBe('1f2e3d4c5b6a79880011223344556677');
    expect(Number(profile.timeNanos)).toBe(Date.parse(report.window.startedAt) * 1e6);
  });

  it('keeps inlined functions in the location that they were inlined at', () => {
    const profile = decode(hostileReport());
    const inlined = profile.location.find(({ line }) => line.length === 2);
    const names = inlined?.line.map(({ functionId }) => {
      const found = profile.function.find(({ id }) => Number(id) === Number(functionId));
      return textOf(profile, found?.name ?? 0);
    });
    expect(names?.[1]).toBe('acquire_port');
    expect(names?.[0]).not.toMatch(/[\p{Cc}]/u);
    const ids = new Set(profile.location.map(({ id }) => Number(id)));
    expect(profile.sample.every(({ locationId }) => locationId.every((id) => ids.has(Number(id))))).toBe(true);
  });

  it('is what "go tool pprof" makes of it', (context) => {
    const directory = mkdtempSync(join(tmpdir(), 'socktrace-test-'));
    try {
      const file = join(directory, 'leak.pb.gz');
      writeFileSync(file, renderPprof(hostileReport()));
      const top = (value: string): string => {
        try {
          return execFileSync('go', ['tool', 'pprof', '-top', '-cum', `-sample_index=${value}`, file], {
            encoding: 'utf8',
            env: { ...globalThis.process.env, HOME: directory },
            stdio: ['ignore', 'pipe', 'ignore'],
          });
        } catch (error) {
          if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
            return notRun(context, 'no go here');
          throw error;
        }
      };
      expect(top('sockets')).toMatch(/File: leakyd\nBuild ID: 1f2e3d4c5b6a79880011223344556677/);
      expect(top('sockets')).toMatch(/^ +0 +0% +\S+ +41 +100% +acquire_port$/m);
      expect(top('ports')).toMatch(/^ +0 +0% +\S+ +12 +100% +try_bind$/m);
      expect(top('failures')).toMatch(/^ +0 +0% +\S+ +29 +70.73% +try_bind$/m);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe('the speedscope file', () => {
  const schema = JSON.parse(
    readFileSync(createRequire(import.meta.url).resolve('speedscope/dist/release/file-format-schema.json'), 'utf8'),
  );
  const validate = new Ajv({ strict: false }).compile(schema);

  it.each([
    ['the sample', report],
    ['hostile names', hostileReport()],
    ['nothing', { ...report, findings: [], failures: { status: 'measured' as const, value: [] } }],
  ])('is one that its schema accepts: %s', (_, of) => {
    expect(validate(JSON.parse(renderSpeedscope(of))), JSON.stringify(validate.errors)).toBe(true);
  });

  it('has a profile for each value, outermost frame first', () => {
    const file = JSON.parse(renderSpeedscope(report)) as {
      shared: { frames: { name: string }[] };
      profiles: { name: string; endValue: number; samples: number[][]; weights: number[] }[];
    };
    expect(file.profiles.map(({ name, endValue }) => [name, endValue])).toEqual([
      ['sockets', 41],
      ['ports', 12],
      ['failures', 41],
    ]);
    const names = file.profiles[0]?.samples[0]?.map((i) => file.shared.frames[i]?.name);
    expect(names?.join(';')).toBe(OPENED);
  });
});
