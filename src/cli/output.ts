/** What happens when nobody takes the output any more. */
import { ExitCode } from './exit-codes.ts';

/**
 * A reader that went away (`| head`) is no error of ours and ends quietly; a full disk or a closed terminal is said on
 * stderr, and makes the exit status 1. Install it before anything is written.
 */
export function guardOutput(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') return;
    process.stderr.write(`socktrace: the output could not be written: ${error.message}\n`);
    process.exitCode = ExitCode.internalError;
  });
  // Where messages cannot be told there is nobody to tell so.
  process.stderr.on('error', () => {});
}
