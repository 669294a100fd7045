/** Installs system packages, by apt as root; for any other manager or user it can only say the command. */
import { findProgram, isRoot, runStep } from './run.mjs';

export const installCommands = {
  apt: 'apt-get install -y --no-install-recommends',
  dnf: 'dnf install -y',
  apk: 'apk add',
  pacman: 'pacman -S --needed',
};

export const canInstall = () => isRoot && findProgram('apt-get') !== null;

function aptGet(args) {
  // Another apt on the machine (unattended-upgrades) is waited for rather than failed on.
  return runStep('apt-get', ['-o', 'DPkg::Lock::Timeout=120', '-qq', ...args], {
    env: { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C.UTF-8' },
  });
}

/** Refreshes the package lists only when apt can not do it with those it has. */
export function installByApt(names) {
  const install = ['install', '-y', '--no-install-recommends', ...names];
  const first = aptGet(install);
  if (first.ok) return first;
  const update = aptGet(['update']);
  return update.ok ? aptGet(install) : { ok: false, output: first.output + update.output };
}
