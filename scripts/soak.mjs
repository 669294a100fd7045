/**
 * `npm run soak [-- --minutes N --seed S]`: eight programs in several network namespaces open, bind, connect, half-close,
 * reset, pass, inherit and leak sockets at random under one long session (30 minutes). At random moments they stand still,
 * and the ledger is compared with a census, /proc, ss, sockstat and what the programs' own calls returned. A table line a
 * minute; fails when anything differs, or memory grows. The same seed does the same things.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { build } from 'esbuild';
import { argumentsOf } from './lib/arguments.mjs';
import { isRoot, root, say } from './lib/run.mjs';
import { setUpOrExplain } from './setup.mjs';

const mostMinutes = 24 * 60;

const usage = `npm run soak -- [options]
  --minutes N   how long (default 30, at most ${mostMinutes})
  --seed S      of what the programs do (default: another each time)
`;

const options = {
  minutes: { type: 'string', default: '30' },
  seed: { type: 'string', default: String(Date.now() % 1_000_000) },
};

function numberOf(name, text, most) {
  const number = Number(text);
  if (Number.isFinite(number) && number > 0 && number <= most) return number;
  throw new Error(`--${name} is a number up to ${most}`);
}

const asked = ({ values }) => ({
  minutes: numberOf('minutes', values.minutes, mostMinutes),
  seed: numberOf('seed', values.seed, 2 ** 31),
});

async function main() {
  const { minutes, seed } = asked(argumentsOf(usage, { options }, asked));
  const { code } = await setUpOrExplain();
  if (code !== 0) return code;
  if (!isRoot) {
    say('npm run soak needs root: it loads BPF programs');
    return 3;
  }
  const program = join(root, 'build/soak/soak.mjs');
  await build({
    entryPoints: [join(root, 'test/soak/soak.ts')],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'warning',
  });
  say(`soak: ${minutes} minutes, seed ${seed}`);
  const args = [program, String(minutes), String(seed), join(root, 'scripts/lib/soak-tracer.mjs')];
  return spawnSync(process.execPath, args, { stdio: 'inherit' }).status ?? 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  say(`soak: ${error.message}`);
  process.exitCode = 2;
}
