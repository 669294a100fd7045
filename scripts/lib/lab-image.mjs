/** The guest's file system: this checkout as it is built and where it is here, Node, and the tools that the host tests use. */
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { writeCpio } from './lab-cpio.mjs';
import { capture, findProgram, root, SetupError } from './run.mjs';

/** What a guest needs of node_modules is vitest and what it stands on; these are for building and checking only. */
const leftOut = ['@biomejs', 'typescript', 'cmake-js', 'node-api-headers', '.cache', '.vite'];

/** Test files and their imports, translated. */
const translations = '.cache/lab/modules';

const checkout = [translations, 'build', 'dist', 'src', 'test', 'package.json', 'vitest.config.ts', 'tsconfig.json'];

/** Of the build folder, what runs. */
const built = /^build(\/[^/.]+(\.node|\.so)?)?$/;

const programs = ['node', 'ss', 'nsenter', 'setpriv'];

const init = `#!/bin/busybox sh
export PATH=/bin:/usr/bin:/sbin:/usr/sbin HOME=/ CI=1 NO_COLOR=1
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tracefs tracefs /sys/kernel/tracing
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
ip link set lo up
for module in /modules/*; do insmod "$module"; done
ulimit -n 65536
stty -F /dev/ttyS1 raw
cd '${root}'
sh /plan.sh
dmesg > /dev/ttyS2
poweroff -f
`;

/** Paths of files and links below `path`, itself included when it is one; folders come with their files. */
function* filesUnder(path, base = root) {
  const from = join(base, path);
  if (!existsSync(from)) return;
  if (!lstatSync(from).isDirectory()) {
    yield path;
    return;
  }
  for (const name of readdirSync(from)) yield* filesUnder(join(path, name), base);
}

function* checkoutFiles() {
  for (const path of checkout.flatMap((name) => [...filesUnder(name)]))
    if (!path.startsWith('build/') || built.test(path)) yield path;
  for (const name of readdirSync(join(root, 'node_modules')))
    if (!leftOut.includes(name)) yield* filesUnder(join('node_modules', name));
}

/** The shared libraries of a program or library, with the loader. */
function librariesOf(file) {
  const { stdout } = capture('ldd', [file]);
  return [...stdout.matchAll(/(\/\S+)(?= \(0x)/g)].map(([path]) => path);
}

/**
 * Fills the cache of vitest, which knows files by their path and content: to translate the tests takes each guest 10 s of
 * CPU. Without it they still run.
 */
function translate() {
  rmSync(join(root, translations), { recursive: true, force: true });
  const scratch = mkdtempSync(join(tmpdir(), 'socktrace-translate-'));
  try {
    capture(join(root, 'node_modules/.bin/vitest'), ['list', '--project', 'guest'], {
      cwd: root,
      env: { ...process.env, SOCKTRACE_HOOKS: 'auto', TMPDIR: scratch },
    });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/**
 * Writes the file system, without the plan. Programs that are missing here are an error: the guest would fail by it.
 */
export function writeBaseImage(file) {
  translate();
  const entries = new Map();
  const busybox = findProgram('busybox');
  if (busybox === null) throw new SetupError('the kernel lab needs busybox-static');
  entries.set('init', { text: init, mode: 0o755 });
  entries.set('bin/busybox', { from: busybox, mode: 0o755 });
  entries.set('tmp', { folder: true, mode: 0o1777 });
  for (const folder of ['proc', 'sys', 'dev', 'run', 'sbin']) entries.set(folder, { folder: true });
  const natives = [...checkoutFiles()]
    .filter((path) => /\.node$|^build\/socktrace-(unwinder|reader)$/.test(path))
    .map((path) => join(root, path));
  const found = programs.map((name) => {
    const path = findProgram(name);
    if (path === null) throw new SetupError(`the kernel lab needs ${name}`);
    return { name, path: realpathSync(path) };
  });
  for (const { name, path } of found) entries.set(`usr/bin/${name}`, { from: path, mode: 0o755 });
  for (const library of [...found.map(({ path }) => path), ...natives].flatMap(librariesOf))
    entries.set(library.slice(1), { from: realpathSync(library), mode: 0o755 });
  for (const path of checkoutFiles()) {
    const from = join(root, path);
    const stat = lstatSync(from);
    entries.set(
      join(root, path).slice(1),
      stat.isSymbolicLink() ? { link: readlinkSync(from) } : { from, mode: stat.mode & 0o777 },
    );
  }
  mkdirSync(join(file, '..'), { recursive: true });
  writeCpio(file, entries);
}

/** What a guest does, and its kernel's modules, as a second archive: the kernel unpacks one after the other. */
export function writePlan(file, script, modules) {
  const numbered = modules.map((from, i) => [`modules/${i}-${basename(from)}`, { from }]);
  writeCpio(file, new Map([['plan.sh', { text: script, mode: 0o755 }], ...numbered]));
}
