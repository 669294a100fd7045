/** `npm run test:kernels`: the kernel lab alone and whole, or a choice of kernels, hook sets and scenarios. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { argumentsOf } from './lib/arguments.mjs';
import { leftOutOf, openShell } from './lib/lab.mjs';
import { labKernels } from './lib/lab-kernels.mjs';
import { labGuests } from './lib/lab-plan.mjs';
import { root, say } from './lib/run.mjs';
import { ensureTestTools } from './lib/test-tools.mjs';
import { setUpOrExplain } from './setup.mjs';

const usage = `npm run test:kernels -- [options]
  --kernel NAME    one of ${labKernels.map(({ name }) => name).join(', ')} (repeatable; default: those that must run)
  --all            every kernel
  --hooks SET      fentry, kprobe or cgroup (repeatable)
  --file PATH      a test file instead of those planned (repeatable)
  -t PATTERN       only tests whose name matches
  --shell          a shell in a guest of the first kernel named
  --list           the kernels, what is run on them, and what of it \`npm test\` leaves out
One scenario on one kernel:
  npm run test:kernels -- --kernel 6.1 --hooks fentry -t 'close-wait'
`;

const options = {
  kernel: { type: 'string', multiple: true },
  all: { type: 'boolean' },
  hooks: { type: 'string', multiple: true },
  file: { type: 'string', multiple: true },
  t: { type: 'string', short: 't' },
  shell: { type: 'boolean' },
  list: { type: 'boolean' },
};

function list() {
  for (const { name, required, suite } of labKernels)
    console.log(`kernel ${name}${required ? ', in npm test' : ''}${suite ? `, from ${suite}` : ''}`);
  for (const { boot, hooks, files } of labGuests) console.log(`${boot}: ${hooks}: ${files.join(' ')}`);
  for (const name of leftOutOf({})) console.log(`npm test: on the machine itself only: ${name}`);
}

async function main() {
  const known = labKernels.map(({ name }) => name);
  const { values: asked } = argumentsOf(usage, { options }, ({ values }) => {
    const unknown = (values.kernel ?? []).find((name) => !known.includes(name));
    if (unknown !== undefined) throw new Error(`there is no kernel ${unknown} in the lab`);
  });
  if (asked.list) {
    list();
    return 0;
  }
  const { code } = await setUpOrExplain();
  if (code !== 0) return code;
  for (const name of ensureTestTools()) say(`${name} is not installed`);
  if (asked.shell) {
    await openShell(asked.kernel?.[0] ?? '6.12');
    return 0;
  }
  const choice = {
    whole: true,
    ...(asked.all ? { kernels: known } : {}),
    ...(asked.kernel ? { kernels: asked.kernel } : {}),
    ...(asked.hooks ? { hooks: asked.hooks } : {}),
    ...(asked.file ? { files: asked.file } : {}),
    ...(asked.t ? { pattern: asked.t } : {}),
  };
  const { status } = spawnSync(join(root, 'node_modules/.bin/vitest'), ['run', '--project', 'kernels'], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, SOCKTRACE_LAB: JSON.stringify(choice) },
  });
  return status ?? 1;
}

process.exitCode = await main();
