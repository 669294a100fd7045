/** `socktrace snapshot`, bare `socktrace` and `socktrace sockstat`: one look at what exists, without tracing. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { KernelError } from '../kernel/binding.ts';
import { SOCKET_KINDS } from '../ledger/kinds.ts';
import type { SocketKind } from '../ledger/types.ts';
import { renderJsonParts } from '../render/json.ts';
import { renderSnapshot, renderSockstat, renderTriage } from '../render/snapshot.ts';
import { type SnapshotOptions, takeSnapshot } from '../session/snapshot.ts';
import { readSsSummary } from '../session/ss-summary.ts';
import { CannotTraceError, ExitCode } from './exit-codes.ts';
import { GROUPS, withExamples } from './help.ts';
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

const SNAPSHOT_EXAMPLES = [
  { line: 'socktrace snapshot', why: 'of every process' },
  { line: 'socktrace snapshot --pid 1234', why: 'what this process holds' },
  { line: 'socktrace snapshot --kind close-wait --limit 1000', why: 'of one kind, a thousand of them' },
  { line: 'socktrace snapshot --json | jq .snapshot', why: 'as a document; it lists them all' },
] as const;

const SOCKSTAT_EXAMPLES = [
  { line: 'socktrace sockstat', why: 'the figures, and the classes that "closed" is the sum of' },
  { line: 'socktrace sockstat --json | jq .sockstat', why: 'as a document' },
] as const;

/** The kernel does not remember what was done to a closed socket that never sent a segment. */
const TOLD_BY_HISTORY: readonly SocketKind[] = ['unused', 'bound-inactive', 'bind-failed'];
const TOLD_BY_ONE_LOOK = SOCKET_KINDS.filter((kind) => !TOLD_BY_HISTORY.includes(kind));

export function addSnapshot(program: Command): void {
  const command = program
    .command('snapshot')
    .summary('every TCP socket that exists now, one by one')
    .description('Lists every TCP socket that exists now, wasteful ones first, without tracing.');
  withExamples(command, SNAPSHOT_EXAMPLES)
    .optionsGroup(GROUPS.which)
    .option('-p, --pid <pid>', 'only sockets that this process holds; repeatable (default: all)', pidArgument)
    .addOption(
      new Option('--kind <kind>', 'only sockets of this kind; repeatable')
        .choices(TOLD_BY_ONE_LOOK)
        .argParser(kindArgument)
        .default(undefined, 'all'),
    )
    .optionsGroup(GROUPS.output)
    .option('--limit <n>', 'most sockets to list as text', countArgument(100_000_000), DEFAULT_LIMIT)
    .option('--json', 'the report as one JSON document')
    .optionsGroup(GROUPS.keep)
    .option('--no-cmdline', 'no command lines')
    .action((options: SnapshotCommandOptions) => {
      process.exitCode = snapshot(options);
    });
}

/** commander parser for a repeatable kind */
function kindArgument(text: string, before: SocketKind[] | undefined): SocketKind[] {
  const kind = SOCKET_KINDS.find((name) => name === text);
  if (kind === undefined) throw new InvalidArgumentError(`Allowed choices are ${TOLD_BY_ONE_LOOK.join(', ')}.`);
  if (TOLD_BY_HISTORY.includes(kind))
    throw new InvalidArgumentError(
      `one look cannot tell ${TOLD_BY_HISTORY.join(', ')} from each other: use --kind closed-unknown (a trace tells them, of sockets opened meanwhile).`,
    );
  return [...(before ?? []), kind];
}

export function addSockstat(program: Command): void {
  const command = program
    .command('sockstat')
    .summary('what "closed" of ss -s is made of')
    .description('Prints what ss -s prints, what its "closed" is made of, and every allocated socket in a class.');
  withExamples(command, SOCKSTAT_EXAMPLES)
    .optionsGroup(GROUPS.output)
    .option('--json', 'the report as one JSON document')
    .action((options: { json?: boolean }) => {
      process.exitCode = sockstat(options.json ?? false);
    });
}

/** Bare `socktrace`. */
export function triage(json: boolean): ExitCode {
  const { report, sockets } = explained(() => takeSnapshot(WHOLE_HOST));
  print(json ? renderJsonParts(report, sockets) : [renderTriage(report, styleFor(process.stdout))]);
  return ExitCode.done;
}

function snapshot({ pid, kind, limit, json, cmdline }: SnapshotCommandOptions): ExitCode {
  const targets = checkedTargets(pid ?? []);
  const most = json ? 0 : limit;
  const { report, sockets } = explained(() =>
    takeSnapshot({ targets, kinds: kind ?? null, hideArguments: !cmdline, most }),
  );
  print(json ? renderJsonParts(report, sockets) : [renderSnapshot(report, limit, styleFor(process.stdout))]);
  return ExitCode.done;
}

function sockstat(json: boolean): ExitCode {
  const { report, sockets } = explained(() => takeSnapshot(WHOLE_HOST));
  if (json) {
    print(renderJsonParts(report, sockets));
    return ExitCode.done;
  }
  const read = readSsSummary(report);
  if (read.status === 'unavailable') throw new CannotTraceError(`the figures of ss -s: ${read.reason}`);
  const { summary, closed } = read.value;
  print([renderSockstat(report, summary, closed, styleFor(process.stdout))]);
  return ExitCode.done;
}

/** The texts of the triage and of sockstat have no list of sockets, and the documents are written one by one. */
const WHOLE_HOST: SnapshotOptions = { targets: [], kinds: null, hideArguments: false, most: 0 };

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
