// Pids that come again.
import { writeFileSync } from 'node:fs';
import { Puppet } from './puppet.ts';

/** A puppet with this pid: the kernel hands out the number after ns_last_pid. */
export async function reborn(pid: number): Promise<Puppet> {
  for (let tries = 0; tries < 50; tries++) {
    writeFileSync('/proc/sys/kernel/ns_last_pid', String(pid - 1));
    const puppet = await Puppet.start();
    if (puppet.pid === pid) return puppet;
    await puppet.close();
  }
  throw new Error(`pid ${pid} could not be had again`);
}
