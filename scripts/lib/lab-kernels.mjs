/** Stock Debian kernels for the lab: fetched and unpacked, never installed. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { capture, root } from './run.mjs';

const cache = join(root, '.cache', 'kernels');
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

/**
 * `packages` match by name, since exact versions vanish from the archive; the newest is taken. `suite`: of the Debian
 * archive, where this machine's own sources (bookworm) do not have it. `required`: it must run, or the lab fails.
 * `lacks`: hook sets that it cannot take whole, or boots in which it can take none, and why.
 */
export const labKernels = [
  { name: '6.1', packages: /^linux-image-6\.1\.\d+-\d+-cloud-amd64$/, required: true },
  { name: '6.12', packages: /^linux-image-6\.12\.\d+\+deb12-cloud-amd64$/, required: true },
  {
    name: '5.10',
    packages: /^linux-image-5\.10\.\d+-\d+-cloud-amd64$/,
    suite: 'bullseye',
    lacks: {
      cgroup: 'no typed current task (5.11)',
      kprobe: 'no typed current task (5.11)',
      'lockdown=confidentiality': 'no typed current task (5.11), and probe reads are forbidden',
    },
  },
  { name: '6.18', packages: /^linux-image-6\.18\.\d+\+deb13-cloud-amd64$/, suite: 'trixie-backports' },
  // From 6.19 on the image package is only a shell.
  { name: '7', packages: /^linux-binary-7\.\d+\.\d+\+deb13-cloud-amd64$/, suite: 'trixie-backports' },
];

/** Of names that differ in numbers, the one with the greatest. */
export function newest(names) {
  const numbers = (name) => name.match(/\d+/g)?.map(Number) ?? [];
  const compare = (a, b) => {
    const [left, right] = [numbers(a), numbers(b)];
    const at = left.findIndex((number, i) => number !== right[i]);
    return at < 0 ? left.length - right.length : left[at] - (right[at] ?? -1);
  };
  return names.toSorted(compare).at(-1) ?? null;
}

/** The mirror that this machine gets Debian from. */
function mirror() {
  const lists = ['/etc/apt/sources.list', ...listsIn('/etc/apt/sources.list.d')].filter(existsSync);
  const found = lists.map((list) => /https?:\/\/[^\s]+\/debian\/?(?=\s|$)/m.exec(readFileSync(list, 'utf8'))?.[0]);
  return found.find((url) => url !== undefined) ?? 'http://deb.debian.org/debian';
}

function listsIn(folder) {
  return existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
}

/** apt options that leave the machine's own lists alone. */
function privateApt(suite) {
  const state = join(cache, `apt-${suite}`);
  for (const folder of ['lists/partial', 'cache/archives/partial']) mkdirSync(join(state, folder), { recursive: true });
  writeFileSync(join(state, 'sources.list'), `deb [signed-by=${keyring}] ${mirror()} ${suite} main\n`);
  return [
    ...['-o', `Dir::Etc::sourcelist=${state}/sources.list`, '-o', 'Dir::Etc::sourceparts=-'],
    ...['-o', `Dir::State::lists=${state}/lists`, '-o', `Dir::Cache=${state}/cache`],
    ...['-o', 'APT::Get::List-Cleanup=0'],
  ];
}

function apt(program, args) {
  return capture(program, args, { env: { ...process.env, LC_ALL: 'C.UTF-8' } });
}

function namesOf(kernel, options) {
  const { stdout } = apt('apt-cache', [...options, 'pkgnames', 'linux-']);
  return stdout.split('\n').filter((name) => kernel.packages.test(name));
}

function findImage(folder) {
  const names = readdirSync(folder, { recursive: true }).filter((name) => /(^|\/)vmlinuz[^/]*$/.test(name));
  return names.length > 0 ? join(folder, names[0]) : null;
}

/** What inet_diag needs, in the order of loading; the tests ask it what ports there are. */
const wantedModules = ['inet_diag', 'tcp_diag'];
const unpackers = { '.xz': 'xz', '.zst': 'zstd' };

/** Paths of the modules that this kernel has not built in, unpacked. */
function findModules(folder) {
  const names = readdirSync(folder, { recursive: true });
  return wantedModules.flatMap((wanted) => {
    const name = names.find((path) => basename(path).startsWith(`${wanted}.ko`));
    if (name === undefined) return [];
    const path = join(folder, name);
    const unpacker = unpackers[extname(name)];
    if (unpacker === undefined) return [path];
    const unpacked = path.slice(0, -extname(name).length);
    return existsSync(unpacked) || capture(unpacker, ['-dk', path]).ok ? [unpacked] : [];
  });
}

/**
 * The kernel's image, from the cache or the archive: {ok: true, image, modules, version} or {ok: false, reason}.
 */
export function fetchKernel(kernel) {
  const folder = join(cache, kernel.name);
  const versionFile = join(folder, 'package');
  if (existsSync(versionFile)) {
    const image = findImage(folder);
    if (image !== null)
      return { ok: true, image, modules: findModules(folder), version: readFileSync(versionFile, 'utf8').trim() };
  }
  mkdirSync(cache, { recursive: true });
  const options = kernel.suite === undefined ? [] : privateApt(kernel.suite);
  if (namesOf(kernel, options).length === 0) apt('apt-get', [...options, '-qq', 'update']);
  const name = newest(namesOf(kernel, options));
  if (name === null) return { ok: false, reason: 'no such package in the archive' };
  const scratch = join(cache, `${kernel.name}.part`);
  rmSync(scratch, { recursive: true, force: true });
  mkdirSync(scratch);
  // root's downloads by apt's own user would need a folder that it may write to.
  const download = capture('apt-get', [...options, '-o', 'APT::Sandbox::User=root', '-qq', 'download', name], {
    cwd: scratch,
  });
  const archive = readdirSync(scratch).find((file) => file.endsWith('.deb'));
  if (!download.ok || archive === undefined) return { ok: false, reason: download.output.trim().split('\n')[0] ?? '' };
  const unpacked = capture('dpkg', ['-x', join(scratch, archive), scratch]);
  rmSync(join(scratch, archive));
  if (!unpacked.ok || findImage(scratch) === null) return { ok: false, reason: `${name} holds no kernel image` };
  writeFileSync(join(scratch, 'package'), `${name}\n`);
  rmSync(folder, { recursive: true, force: true });
  renameSync(scratch, folder);
  return { ok: true, image: findImage(folder), modules: findModules(folder), version: name };
}
