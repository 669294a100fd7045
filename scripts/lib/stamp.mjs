/**
 * Whether a build is current. A stamp beside the outputs holds a hash of all inputs and the list of outputs. It is
 * removed before a build and written after it, so that an interrupted or failed build counts as none.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { root } from './run.mjs';

/** All files under `path` (or `path` itself), sorted, relative to the checkout. */
export function filesUnder(path, accept = () => true) {
  const absolute = join(root, path);
  if (!existsSync(absolute)) return [];
  if (statSync(absolute).isFile()) return accept(path) ? [path] : [];
  return readdirSync(absolute, { withFileTypes: true })
    .flatMap((entry) => {
      const inside = join(path, entry.name);
      if (entry.isDirectory()) return filesUnder(inside, accept);
      return entry.isFile() && accept(inside) ? [inside] : [];
    })
    .sort();
}

/** `salt` is what the outputs depend on besides the content of files. */
export function hashOf(files, salt = '') {
  const hash = createHash('sha256').update(`${salt}\0${root}\0`);
  for (const file of files) {
    const content = readFileSync(join(root, file));
    hash.update(`${file}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

export function stampIsCurrent(stamp, hash) {
  try {
    const { inputs, outputs } = JSON.parse(readFileSync(join(root, stamp), 'utf8'));
    return inputs === hash && outputs.length > 0 && outputs.every((file) => existsSync(join(root, file)));
  } catch {
    return false;
  }
}

export function removeStamp(stamp) {
  rmSync(join(root, stamp), { force: true });
}

export function writeStamp(stamp, inputs, outputs) {
  mkdirSync(dirname(join(root, stamp)), { recursive: true });
  writeFileSync(join(root, stamp), `${JSON.stringify({ inputs, outputs })}\n`);
}
