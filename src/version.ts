/** The version of package.json, which the build keeps beside the code. */
import { readFileSync } from 'node:fs';
import { packageFile } from './package-files.ts';

export const VERSION = (JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { version: string }).version;
