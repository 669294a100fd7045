/** The sockets of a snapshot, one line each. */
import type { Report, SnapshotSocket } from '../../report/types.ts';
import { formatDuration } from '../duration.ts';
import { escapeText } from '../escape.ts';
import { ProcessNames } from '../names.ts';
import { countOf, formatCount } from '../numbers.ts';
import type { Style } from '../style.ts';
import { type Column, layOut } from '../table.ts';

const COLUMNS: readonly Column[] = [
  { title: 'KIND', align: 'left' },
  { title: 'STATE', align: 'left' },
  { title: 'RECV-Q', align: 'right' },
  { title: 'SEND-Q', align: 'right' },
  { title: 'IDLE', align: 'right' },
  { title: 'PORT', align: 'right' },
  { title: 'LOCAL', align: 'left' },
  { title: 'PEER', align: 'left' },
  { title: 'USER', align: 'left' },
  { title: 'NETNS', align: 'right' },
  { title: 'INODE', align: 'right' },
  { title: 'HELD BY (fd)', align: 'left' },
];

const MOST_HOLDERS = 3;

/** @param limit most sockets to list; the wasteful ones come first */
export function socketLines(report: Report, limit: number, style: Style): string[] {
  if (report.snapshot.status === 'unavailable') return [];
  const all = report.sockets.held ?? report.snapshot.value.length;
  if (all === 0) return [style.bold('SOCKETS'), '  none'];
  const names = new ProcessNames(report);
  const shown = report.snapshot.value.slice(0, limit);
  const table = layOut(
    COLUMNS,
    shown.map((socket) => cells(socket, names)),
  );
  const more = all - shown.length;
  return [
    style.bold('SOCKETS'),
    style.dim(`  ${table.title}`),
    ...table.rows.map((row) => `  ${row}`),
    ...(more > 0 ? [`  and ${countOf(more, 'more socket')}: --limit or --json lists them`] : []),
  ];
}

function cells(socket: SnapshotSocket, names: ProcessNames): string[] {
  const { kind, state, receiveQueue, sendQueue, idleMs, port, local, peer, netns, inode } = socket;
  return [
    kind,
    state,
    formatCount(receiveQueue),
    formatCount(sendQueue),
    idleMs.status === 'measured' ? formatDuration(idleMs.value) : '-',
    port === null ? '-' : String(port),
    escapeText(local.address),
    peer.port === 0 ? '-' : `${escapeText(peer.address)} ${peer.port}`,
    userText(socket),
    String(netns),
    inode ?? '-',
    holders(socket, names),
  ];
}

function userText({ uid, user }: SnapshotSocket): string {
  return user === null ? String(uid) : `${escapeText(user)} (${uid})`;
}

function holders({ holders, class: name }: SnapshotSocket, names: ProcessNames): string {
  if (holders.length === 0) return `nobody: ${name}`;
  const shown = holders.slice(0, MOST_HOLDERS).map(({ process, fd }) => `${names.of(process)} (${fd})`);
  const more = holders.length - shown.length;
  return `${shown.join(', ')}${more > 0 ? ` and ${countOf(more, 'more descriptor')}` : ''}`;
}
