/** Programs that tests and benchmarks use beside what is built here. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { canInstall, installByApt } from './packages.mjs';
import { capture, say } from './run.mjs';

/** By its exit status, whether Debian starts a service as it installs it. */
const policy = '/usr/sbin/policy-rc.d';

function withoutStarting(install) {
  if (existsSync(policy)) return install();
  writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755, flag: 'wx' });
  try {
    return install();
  } finally {
    rmSync(policy);
  }
}

/**
 * Installs what is missing of `{name, package, service, present}` each, when possible. Returns the names of those that
 * are still missing. `purpose` is said.
 */
export function ensureTools(tools, purpose) {
  const missingTools = () => tools.filter(({ present }) => !present());
  const missing = missingTools();
  if (missing.length === 0 || !canInstall()) return missing.map(({ name }) => name);
  const packages = [...new Set(missing.map((tool) => tool.package))];
  say(`setup: apt-get install ${packages.join(' ')}, for ${purpose}`);
  withoutStarting(() => {
    // One that this release does not have must not keep the others away.
    if (!installByApt(packages).ok) for (const name of packages) installByApt([name]);
  });
  const services = missing.filter(({ service }) => service).map((tool) => tool.package);
  if (services.length > 0 && existsSync('/run/systemd/system'))
    capture('systemctl', ['--quiet', 'disable', ...services]);
  return missingTools().map(({ name }) => name);
}
