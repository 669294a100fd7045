/** One change of one socket as a line, in the manner of strace. */
import type { SocketEvent } from '../kernel/decode.ts';

/** `12.345678 [1234] v4 sk 1f0 bind -> EADDRINUSE`; times are seconds of CLOCK_MONOTONIC. */
export function renderEvent(event: SocketEvent): string {
  const seconds = (event.atMs / 1000).toFixed(6);
  const socket = `sock ${event.id.slice(0, event.id.indexOf(':'))}`;
  return `${seconds} [${event.ownerPid}] v${event.family} ${socket} ${describe(event)}`;
}

function describe(event: SocketEvent): string {
  const failed = event.errno === null ? '' : ` = ${event.errno}`;
  switch (event.name) {
    case 'opened':
    case 'accepted':
    case 'released':
      return event.name;
    case 'bind':
      return event.errno === null ? `bind port ${event.localPort}` : `bind${failed}`;
    case 'connect':
    case 'listen':
      return `${event.name}${failed}`;
    case 'state':
      return `${event.oldState ?? '?'} -> ${event.state ?? '?'}${ports(event)}${failed}`;
    case 'destroyed':
      return `destroyed in ${event.state ?? '?'}`;
  }
}

function ports(event: SocketEvent): string {
  return event.peerPort === 0 ? ` port ${event.localPort}` : ` port ${event.localPort} peer ${event.peerPort}`;
}
