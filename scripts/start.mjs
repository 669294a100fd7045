/**
 * `npm start`: sets up, then traces a small service that leaks, as a demonstration.
 * `npm start -- ARGUMENTS`: sets up, then runs socktrace with these arguments.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { runInForeground } from './lib/child.mjs';
import { isRoot, root, say } from './lib/run.mjs';
import { setUpOrExplain } from './setup.mjs';

const cli = join(root, 'dist/cli/main.js');
const demoService = join(root, 'build/leaky-service');
// The service ends by itself, should this process be killed before it can end it.
const demoArguments = ['incident', '--rate', '20', '--lifetime', '120'];
const demoTrace = ['--duration', '15s', '--min-age', '2s', '--leak-age', '5s'];
const demoStartMs = 10_000;
const cannotTrace = 3;

const trace = (args) => runInForeground(process.execPath, [cli, ...args]);

/** Resolves with the service's pid once it says that it is ready. */
function whenReady(service) {
  return new Promise((resolve, reject) => {
    let output = '';
    const timer = setTimeout(
      () => reject(new Error(`the demo service was not ready in ${demoStartMs} ms`)),
      demoStartMs,
    );
    service.stdout.on('data', (chunk) => {
      output += chunk;
      const pid = /^ready pid=(\d+)/m.exec(output)?.[1];
      if (pid === undefined) return;
      clearTimeout(timer);
      resolve(pid);
    });
    service.once('error', reject);
    service.once('exit', (code, signal) => reject(new Error(`the demo service ended early (${signal ?? code})`)));
  });
}

async function demonstrate() {
  if (!isRoot) {
    say('socktrace needs root to trace. Run: sudo npm start');
    return cannotTrace;
  }
  // In a session of its own: Ctrl-C must end the trace, and not what is traced.
  const service = spawn(demoService, demoArguments, { stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  const interrupted = () => {
    service.kill('SIGKILL');
    process.exit(1);
  };
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  try {
    const pid = await whenReady(service);
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
    const args = ['--pid', pid, ...demoTrace];
    say(`demo: ${demoService} leaks sockets as process ${pid}`);
    say(`demo: socktrace ${args.join(' ')}\n`);
    return await trace(args);
  } catch (error) {
    say(`demo: ${error.message}`);
    return 1;
  } finally {
    service.kill('SIGKILL');
    // What the service still writes must not keep this process.
    service.stdout?.destroy();
  }
}

const { code } = await setUpOrExplain();
const args = process.argv.slice(2);
if (code !== 0) process.exitCode = code;
else process.exitCode = args.length > 0 ? await trace(args) : await demonstrate();
