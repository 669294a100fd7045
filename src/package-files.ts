/** Where the files of this package are, whichever file the build has put this code into. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = rootAbove(dirname(fileURLToPath(import.meta.url)));

function rootAbove(folder: string): string {
  const above = dirname(folder);
  return above === folder || existsSync(join(folder, 'package.json')) ? folder : rootAbove(above);
}

/** @param path from the folder of package.json */
export function packageFile(path: string): string {
  return join(ROOT, path);
}
