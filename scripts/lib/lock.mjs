/**
 * One set-up at a time in a checkout. The lock is a name in the kernel's abstract socket namespace: the kernel
 * takes it back however its holder ends, so it can not be left behind stale.
 */
import { createHash } from 'node:crypto';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { root, say } from './run.mjs';

const name = `\0socktrace-setup-${createHash('sha256').update(root).digest('hex').slice(0, 16)}`;
const retryMs = 200;

function tryLock() {
  return new Promise((resolve, reject) => {
    const server = createServer((connection) => connection.destroy());
    server.once('error', (error) => (error.code === 'EADDRINUSE' ? resolve(null) : reject(error)));
    server.listen(name, () => resolve(server.unref()));
  });
}

/** Runs `work` while no other process in this checkout does the same. */
export async function withLock(work) {
  let lock = await tryLock();
  if (lock === null) say('setup: another set-up is running in this checkout; waiting for it');
  while (lock === null) {
    await sleep(retryMs);
    lock = await tryLock();
  }
  try {
    return await work();
  } finally {
    lock.close();
  }
}
