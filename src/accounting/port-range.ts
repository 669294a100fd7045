/** The texts of /proc/sys/net/ipv4/ip_local_port_range and ip_local_reserved_ports. */
import type { Known } from '../ledger/types.ts';

export type PortSpan = readonly [low: number, high: number];

/** `32768\t60999` */
export function parsePortRange(text: string): Known<PortSpan> {
  const [, low, high] = /^(\d{1,5})\s+(\d{1,5})\s*$/.exec(text) ?? [];
  const span = toSpan(low, high);
  return span === null ? unreadable('ip_local_port_range') : { status: 'measured', value: span };
}

/** `8080,9148-9150`; empty for none */
export function parseReservedPorts(text: string): Known<readonly PortSpan[]> {
  const spans = text
    .trim()
    .split(',')
    .filter((part) => part !== '')
    .map((part) => {
      const [, low, high] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? [];
      return toSpan(low, high ?? low);
    });
  const whole = spans.filter((span) => span !== null);
  return whole.length === spans.length ? { status: 'measured', value: whole } : unreadable('ip_local_reserved_ports');
}

export function isWithin(port: number, [low, high]: PortSpan): boolean {
  return port >= low && port <= high;
}

function toSpan(low: string | undefined, high: string | undefined): PortSpan | null {
  const [from, to] = [Number(low), Number(high)];
  return low !== undefined && high !== undefined && from <= to && to <= 65_535 ? [from, to] : null;
}

function unreadable(name: string): { status: 'unavailable'; reason: string } {
  return { status: 'unavailable', reason: `${name} could not be read` };
}
