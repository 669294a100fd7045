/** Which service and which container a process belongs to, from /proc/PID/cgroup. */

export interface CgroupMembership {
  /** systemd unit, null when in none */
  unit: string | null;
  /** container id, null when in none */
  container: string | null;
}

/**
 * What runtimes name a container's cgroup: `docker-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`,
 * `libpod-ID.scope`, `...:cri-containerd:ID`, or the bare ID (`/docker/ID`, `/kubepods/.../ID`). IDs are SHA-256.
 */
const CONTAINER = /^(?:.*[-:])?([0-9a-f]{64})(?:\.scope)?$/;

const UNIT = /\.(?:service|scope)$/;

/** The innermost unit and container. A text without a usable line is a membership in none. */
export function parseCgroup(text: string): CgroupMembership {
  const components = systemdPath(text).split('/').reverse();
  const container = components.map((component) => CONTAINER.exec(component)?.[1]).find((id) => id !== undefined);
  return { unit: components.find((component) => UNIT.test(component)) ?? null, container: container ?? null };
}

/** cgroup v2's only line `0::/path`; on a host with v1 the line of systemd's own hierarchy. */
function systemdPath(text: string): string {
  const lines = text.split('\n').map((line) => /^\d+:([^:]*):(.*)$/.exec(line));
  const named = lines.find((line) => line?.[1] === 'name=systemd')?.[2];
  const unified = lines.find((line) => line?.[1] === '')?.[2];
  return named !== undefined && named !== '/' ? named : (unified ?? named ?? '/');
}
