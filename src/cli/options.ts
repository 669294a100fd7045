/** Options that several commands share, parsed and checked. */
import { InvalidArgumentError, Option } from 'commander';
import { HOOK_SETS } from '../kernel/binding.ts';
import { formatDuration, parseDuration } from '../render/duration.ts';

/** commander parser: `500ms`, `14s`, `5m`, `2h` to milliseconds */
export function durationArgument(text: string): number {
  const parsed = parseDuration(text);
  if (!parsed.ok) throw new InvalidArgumentError(parsed.error);
  return parsed.ms;
}

/** An option that takes a duration and shows its default as one. */
export function durationOption(flags: string, description: string, defaultMs: number): Option {
  return new Option(flags, description).argParser(durationArgument).default(defaultMs, formatDuration(defaultMs));
}

/** commander parser: a positive whole number of at most `most` */
export function countArgument(most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= 1 && value <= most)) throw new InvalidArgumentError(`a whole number from 1 to ${most} is needed.`);
    return value;
  };
}

/** commander parser for a repeatable pid */
export function pidArgument(text: string, before: number[] | undefined): number[] {
  // PID_MAX_LIMIT of include/linux/threads.h
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= 1 && value <= 4_194_304))
    throw new InvalidArgumentError('a process id is a whole number, such as 1234.');
  return [...(before ?? []), value];
}

export function hooksOption(): Option {
  return new Option('--hooks <set>', 'BPF hooks to observe with').choices(['auto', ...HOOK_SETS]).default('auto');
}
