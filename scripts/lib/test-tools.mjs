/** Programs that only the tests use. A missing one is installed when possible, and named when not. */
import { findClangTool, wantedMajor } from '../lint-native.mjs';
import { capture, findProgram } from './run.mjs';
import { ensureTools } from './tools.mjs';

const works = (name, ...args) => {
  const path = findProgram(name);
  return path !== null && (args.length === 0 || capture(path, args).ok);
};

const tools = [
  { name: 'ip', package: 'iproute2', present: () => works('ip') },
  { name: 'ss', package: 'iproute2', present: () => works('ss') },
  { name: 'lsof', package: 'lsof', present: () => works('lsof') },
  { name: 'capsh', package: 'libcap2-bin', present: () => works('capsh') },
  { name: 'setpriv', package: 'util-linux', present: () => works('setpriv') },
  { name: 'unshare', package: 'util-linux', present: () => works('unshare') },
  { name: 'bpftool', package: 'bpftool', present: () => works('bpftool') },
  {
    name: 'python3',
    package: 'python3',
    present: () =>
      works('python3', '-c', 'import asyncio, http.server, multiprocessing.connection, socketserver, urllib.request'),
  },
  {
    name: 'qemu-system-x86_64',
    package: 'qemu-system-x86',
    present: () => process.arch !== 'x64' || works('qemu-system-x86_64'),
  },
  { name: 'busybox (static)', package: 'busybox-static', present: () => works('busybox') },
  { name: 'chromium', package: 'chromium', present: () => works('chromium') },
  { name: 'pytest-3', package: 'python3-pytest', present: () => works('pytest-3', '--version') },
  { name: 'jq', package: 'jq', present: () => works('jq') },
  { name: 'go (for its pprof)', package: 'golang-go', present: () => works('go') },
  { name: 'tmux', package: 'tmux', present: () => works('tmux', '-V') },
  // Shells whose completion is tried.
  { name: 'zsh', package: 'zsh', present: () => works('zsh', '--version') },
  { name: 'fish', package: 'fish', present: () => works('fish', '--version') },
  { name: 'socat', package: 'socat', present: () => works('socat') },
  // What the call paths of other languages, and other unwinders, are tried with.
  { name: 'gdb', package: 'gdb', present: () => works('gdb', '--version') },
  { name: 'go', package: 'golang-go', present: () => works('go', 'version') },
  { name: 'rustc', package: 'rustc', present: () => works('rustc', '--version') },
  { name: 'javac', package: 'default-jdk-headless', present: () => works('javac', '-version') },
  { name: 'objcopy', package: 'binutils', present: () => works('objcopy', '--version') },
  {
    name: 'debuginfod, debuginfod-find',
    package: 'debuginfod',
    present: () => works('debuginfod') && works('debuginfod-find'),
  },
  { name: 'nginx', package: 'nginx', service: true, present: () => works('nginx') },
  { name: 'redis-server', package: 'redis-server', service: true, present: () => works('redis-server') },
  { name: 'haproxy', package: 'haproxy', service: true, present: () => works('haproxy') },
  { name: 'wrk', package: 'wrk', present: () => works('wrk') },
  ...['clang-format', 'clang-tidy'].map((tool) => ({
    name: `${tool} ${wantedMajor}`,
    package: `${tool}-${wantedMajor}`,
    present: () => findClangTool(tool)?.major === wantedMajor,
  })),
];

/** Returns the names of the tools that are still missing. */
export const ensureTestTools = () => ensureTools(tools, 'the tests');
