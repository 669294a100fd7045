/**
 * Makes a checkout ready to run: system packages, node_modules, the native part, the TypeScript. Does only what is
 * missing, and says each thing it does and why. Used by start, test and bench; runs before node_modules exists.
 */
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { withLock } from './lib/lock.mjs';
import { canInstall, installByApt, installCommands } from './lib/packages.mjs';
import { isRoot, root, runStep, SetupError, say } from './lib/run.mjs';
import { filesUnder, hashOf, removeStamp, stampIsCurrent, writeStamp } from './lib/stamp.mjs';
import { missingRequirements } from './lib/toolchain.mjs';

const isHostC = (file) => /\.(c|cc|h)$/.test(file);

const nativeBuild = {
  what: 'native part',
  script: 'build:native',
  stamp: 'build/.inputs.json',
  salt: `${process.arch} node-${process.versions.node.split('.')[0]}`,
  inputs: () => [
    ...['CMakeLists.txt', 'package.json', 'package-lock.json', 'bpf', 'native'].flatMap((path) => filesUnder(path)),
    ...filesUnder('test', isHostC),
  ],
  outputs: () => filesUnder('build', isNativeOutput),
  before: removeForeignBuild,
  after: () => {},
};

const typescriptBuild = {
  what: 'TypeScript',
  script: 'build:ts',
  stamp: 'dist/.inputs.json',
  salt: '',
  inputs: () =>
    [
      ...['package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json', 'tsconfig.page.json', 'src'],
      ...['scripts/build-page.mjs', 'scripts/build-command-line.mjs'],
    ].flatMap((path) => filesUnder(path)),
  outputs: () => filesUnder('dist', (file) => file.endsWith('.js')),
  before: () => {},
  after: removeOrphans,
};

const builds = [nativeBuild, typescriptBuild];

function isNativeOutput(file) {
  if (file.includes('CMakeFiles')) return false;
  return file.endsWith('.node') || (statSync(join(root, file)).mode & 0o111) !== 0;
}

/** CMake refuses a build folder that came from another place (a copied or moved checkout). */
function removeForeignBuild() {
  const cache = join(root, 'build', 'CMakeCache.txt');
  if (!existsSync(cache)) return;
  const home = /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(readFileSync(cache, 'utf8'))?.[1];
  if (home === root) return;
  say(`setup: removing build/, it was made for ${home ?? 'an unknown place'}`);
  rmSync(join(root, 'build'), { recursive: true, force: true });
}

/** tsc leaves the output of a source file that is gone. */
function removeOrphans() {
  for (const file of filesUnder('dist', (name) => name.endsWith('.js') || name.endsWith('.d.ts'))) {
    const source = file.replace(/^dist/, 'src').replace(/(\.d\.ts|\.js)$/, '.ts');
    if (!existsSync(join(root, source))) rmSync(join(root, file));
  }
}

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 11)) return;
  throw new SetupError(`socktrace needs Node.js 20.11 or newer; this is ${process.versions.node}`);
}

function isCurrent(build) {
  return stampIsCurrent(build.stamp, hashOf(build.inputs(), build.salt));
}

/** Compares contents, not times: a checkout or a copy gives files any times. */
function whyInstallModules() {
  const read = (path) => JSON.parse(readFileSync(join(root, path), 'utf8')).packages;
  if (!existsSync(join(root, 'node_modules/.package-lock.json'))) return 'node_modules is absent or incomplete';
  const installed = read('node_modules/.package-lock.json');
  const differs = ([path, wanted]) => {
    const present = installed[path];
    // Which optional packages belong to this platform is npm's to decide.
    if (present === undefined) return path !== '' && !wanted.optional;
    return present.version !== wanted.version || present.integrity !== wanted.integrity;
  };
  const stale = Object.entries(read('package-lock.json')).find(differs);
  return stale ? `package-lock.json wants another ${stale[0].replace(/^node_modules\//, '')}` : null;
}

function ensureModules() {
  const why = whyInstallModules();
  if (why === null) return;
  say(`setup: npm ci, because ${why}`);
  // No package here needs an install script, and this often runs as root.
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--no-progress', '--loglevel=error'];
  const { ok, output } = runStep('npm', args);
  if (!ok) throw new SetupError(`${output}setup: npm ci failed`);
}

function explainMissing(missing) {
  const lines = missing.map(({ what, output }) => `  ${what}: ${output.split('\n').slice(0, 3).join('\n    ')}`);
  return `setup: the native part can not be built, this is missing:\n${lines.join('\n')}`;
}

function packagesFor(missing, manager) {
  return [...new Set(missing.map(({ packages }) => packages[manager]))];
}

function ensureToolchain() {
  const missing = missingRequirements();
  if (missing.length === 0) return;
  if (!canInstall()) {
    const commands = Object.entries(installCommands).map(
      ([manager, command]) => `  ${manager.padEnd(7)} ${command} ${packagesFor(missing, manager).join(' ')}`,
    );
    const who = isRoot ? 'Install it with the command of your system' : 'As root, install it with';
    throw new SetupError(`${explainMissing(missing)}\n${who}, then run this again:\n${commands.join('\n')}`);
  }
  const names = packagesFor(missing, 'apt');
  say(`setup: apt-get install ${names.join(' ')}, for ${missing.map(({ what }) => what).join('; ')}`);
  const { ok, output } = installByApt(names);
  if (!ok) throw new SetupError(`${output}setup: apt-get could not install ${names.join(' ')}`);
  const still = missingRequirements();
  if (still.length > 0) throw new SetupError(explainMissing(still));
}

function runBuild(build) {
  const inputs = hashOf(build.inputs(), build.salt);
  if (stampIsCurrent(build.stamp, inputs)) return;
  const verb = existsSync(join(root, build.stamp)) ? 'its inputs have changed' : 'it is not built';
  build.before();
  say(`setup: building the ${build.what}, because ${verb}`);
  removeStamp(build.stamp);
  const { ok, signal, output } = runStep('npm', ['run', '--silent', build.script]);
  if (!ok) throw new SetupError(`${output}setup: npm run ${build.script} failed${signal ? ` (${signal})` : ''}`);
  build.after();
  const outputs = build.outputs();
  if (outputs.length === 0) throw new SetupError(`${output}setup: npm run ${build.script} made nothing`);
  writeStamp(build.stamp, inputs, outputs);
}

function isReady() {
  return whyInstallModules() === null && builds.every(isCurrent);
}

/** Returns whether anything had to be done. Throws SetupError with an explanation for the user. */
export async function setUp() {
  requireNode();
  if (isReady()) return false;
  await withLock(() => {
    // The build is all that needs the toolchain: with a current one its absence does not matter.
    if (!isCurrent(nativeBuild)) ensureToolchain();
    ensureModules();
    for (const build of builds) runBuild(build);
  });
  return true;
}

/** For scripts: sets up, or explains and returns the exit code to end with. */
export async function setUpOrExplain() {
  try {
    const worked = await setUp();
    return { code: 0, worked };
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
    return { code: 1, worked: true };
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { code, worked } = await setUpOrExplain();
  if (code === 0) say(worked ? 'setup: done' : 'setup: nothing to do');
  process.exitCode = code;
}
