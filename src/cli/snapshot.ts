/** `socktrace snapshot`, bare `socktrace` and `socktrace sockstat`: one look at what exists, without tracing. */
import { type Command, InvalidArgumentError } from 'commander';
import { KernelError } from '../kernel/binding.ts';
import { SOCKET_KINDS } from '../ledger/kinds.ts';
import type { SocketKind } from '../ledger/types.ts';
import { renderJsonParts } from '../render/json.ts';
import { renderSnapshot, renderSockstat, renderTriage } from '../render/snapshot.ts';
import { type SnapshotOptions, takeSnapshot } from '../session/snapshot.ts';
import { readSsSummary } from '../session/ss-summary.ts';
import { CannotTraceError, ExitCode } from './exit-codes.ts';
import { countArgument, pidArgument } from './options.ts';
import { explainRefusal } from './refusal.ts';
import { styleFor } from './style.ts';
import { checkedTargets, requireOwnPids } from './targets.ts';

interface SnapshotCommandOptions {
  pid?: number[];
  kind?: SocketKind[];
  limit: number;
  json?: boolean;
  cmdline: boolean;
}

const DEFAULT_LIMIT = 40;

/** The kernel does not remember what was done to a closed socket that never sent a segment. */
const TOLD_BY_HISTORY: readonly SocketKind[] = ['unused', 'bound-inactive', 'bind-failed'];

export function addSnapshot(program: Command): void {
  program
    .command('snapshot')
    .description('every TCP socket that exists now, wasteful ones first, without tracing')
    .option('-p, --pid <pid>', 'only sockets that this process holds (repeatable)', pidArgument)
    .option('--kind <kind>', 'only sockets of this kind (repeatable)', kindArgument)
    .option('--limit <n>', 'most sockets to list as text', countArgument(100_000_000), DEFAULT_LIMIT)
    .option('--json', 'print the report as one JSON document')
    .option('--no-cmdline', 'leave command lines out of the report')
    .action((options: SnapshotCommandOptions) => {
      process.exitCode = snapshot(options);
    });
}

/** commander parser for a repeatable kind */
function kindArgument(text: string, before: SocketKind[] | undefined): SocketKind[] {
  const kind = SOCKET_KINDS.find((name) => name === text);
  if (kind === undefined) throw new InvalidArgumentError(`Allowed choices are ${SOCKET_KINDS.join(', ')}.`);
  if (TOLD_BY_HISTORY.includes(kind))
    throw new InvalidArgumentError(
      `one look cannot tell ${TOLD_BY_HISTORY.join(', ')} from each other: use --kind closed-unknown (a trace tells them, of sockets opened meanwhile).`,
    );
  return [...(before ?? []), kind];
}

export function addSockstat(program: Command): void {
  program
    .command('sockstat')
    .description('what ss -s prints, what its "closed" is made of, and every allocated socket in a class')
    .option('--json', 'print the report as one JSON document')
    .action((options: { json?: boolean }) => {
      process.exitCode = sockstat(options.json ?? false);
    });
}

/** Bare `socktrace`. */
export function triage(json: boolean): ExitCode {
  const report = explained(() => takeSnapshot(wholeHost(json)));
  print(json ? renderJsonParts(report) : [renderTriage(report, styleFor(process.stdout))]);
  return ExitCode.done;
}

function snapshot({ pid, kind, limit, json, cmdline }: SnapshotCommandOptions): ExitCode {
  const targets = checkedTargets(pid ?? []);
  const most = json ? Number.POSITIVE_INFINITY : limit;
  const report = explained(() => takeSnapshot({ targets, kinds: kind ?? null, hideArguments: !cmdline, most }));
  print(json ? renderJsonParts(report) : [renderSnapshot(report, limit, styleFor(process.stdout))]);
  return ExitCode.done;
}

function sockstat(json: boolean): ExitCode {
  const report = explained(() => takeSnapshot(wholeHost(json)));
  if (json) {
    print(renderJsonParts(report));
    return ExitCode.done;
  }
  const read = readSsSummary(report);
  if (read.status === 'unavailable') throw new CannotTraceError(`the figures of ss -s: ${read.reason}`);
  const { summary, closed } = read.value;
  print([renderSockstat(report, summary, closed, styleFor(process.stdout))]);
  return ExitCode.done;
}

/** The texts of the triage and of sockstat have no list of sockets. */
function wholeHost(json: boolean): SnapshotOptions {
  return { targets: [], kinds: null, hideArguments: false, most: json ? Number.POSITIVE_INFINITY : 0 };
}

function print(parts: Iterable<string>): void {
  for (const part of parts) process.stdout.write(part);
}

function explained<T>(work: () => T): T {
  requireOwnPids();
  try {
    return work();
  } catch (error) {
    throw error instanceof KernelError ? explainRefusal(error) : error;
  }
}
