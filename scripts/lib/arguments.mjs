/** What the scripts for developers are asked for. */
import { parseArgs } from 'node:util';
import { say } from './run.mjs';

/**
 * The options and positionals as parseArgs (node:util) gives them. `--help` prints the usage and ends the script with 0;
 * what is not understood, or what `check` throws about, is said above the usage, and ends it with 2.
 */
export function argumentsOf(usage, config, check = () => {}) {
  try {
    const parsed = parseArgs({ ...config, options: { ...config.options, help: { type: 'boolean', short: 'h' } } });
    if (parsed.values.help) {
      process.stdout.write(usage);
      process.exit(0);
    }
    check(parsed);
    return parsed;
  } catch (error) {
    say(`${error.message}\n${usage}`);
    process.exit(2);
  }
}
