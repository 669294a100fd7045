/** What the native build needs, each established by trying it, not by the name of a package. */
import { capture, findProgram } from './run.mjs';

export const clangNames = ['clang', 'clang-19', 'clang-18', 'clang-17', 'clang-16', 'clang-15', 'clang-14'];

function multiarchFolder() {
  const gcc = findProgram('gcc');
  const name = gcc ? capture(gcc, ['-print-multiarch']).stdout.trim() : '';
  return name ? ['-idirafter', `/usr/include/${name}`] : [];
}

function clangForBpf() {
  for (const name of clangNames) {
    const path = findProgram(name);
    const args = ['-target', 'bpf', '-O2', '-g', '-x', 'c', '-c', '-', '-o', '/dev/null'];
    if (path && capture(path, args, { input: 'int answer(void) { return 42; }\n' }).ok) return path;
  }
  return null;
}

function tryBpfHeaders() {
  const clang = clangForBpf();
  if (clang === null) return { ok: false, output: 'no clang to try with' };
  const args = ['-target', 'bpf', '-O2', '-x', 'c', '-c', '-', '-o', '/dev/null', ...multiarchFolder()];
  return capture(clang, args, { input: '#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n' });
}

/** Compiles and links, so that a header without its library does not pass. */
function tryLinking(source, libraries) {
  const compiler = findProgram('g++');
  if (compiler === null) return { ok: false, output: 'no g++ to try with' };
  return capture(compiler, ['-x', 'c++', '-', '-o', '/dev/null', ...libraries], { input: source });
}

function tryProgram(name) {
  const path = findProgram(name);
  return path ? capture(path, ['--version']) : { ok: false, output: `no ${name} on PATH` };
}

const demangleProbe = `#include <libiberty/demangle.h>
int main() { return cplus_demangle("f", DMGL_AUTO) != nullptr; }
`;

const libdwProbe = `#include <elfutils/libdwfl.h>
#include <elfutils/version.h>
#if !_ELFUTILS_PREREQ(0, 188)
#error socktrace needs elfutils 0.188 or newer
#endif
int main() { return dwfl_version(nullptr) == nullptr; }
`;

const libbpfProbe = `#include <bpf/libbpf.h>
#if LIBBPF_MAJOR_VERSION < 1
#error socktrace needs libbpf 1.0 or newer
#endif
int main() { return libbpf_major_version() < 1; }
`;

/** In the order in which a later one needs an earlier one. `packages` names the first package by its manager. */
const requirements = [
  {
    what: 'clang that compiles for BPF',
    packages: { apt: 'clang', dnf: 'clang', apk: 'clang', pacman: 'clang' },
    attempt: () => (clangForBpf() ? { ok: true } : { ok: false, output: `none of ${clangNames.join(', ')} can` }),
  },
  {
    what: 'g++ with C++17',
    packages: { apt: 'g++', dnf: 'gcc-c++', apk: 'g++', pacman: 'gcc' },
    attempt: () => tryLinking('#include <optional>\nint main() { return *std::optional<int>(0); }\n', ['-std=c++17']),
  },
  {
    what: 'cmake',
    packages: { apt: 'cmake', dnf: 'cmake', apk: 'cmake', pacman: 'cmake' },
    attempt: () => tryProgram('cmake'),
  },
  {
    what: 'make or ninja',
    packages: { apt: 'make', dnf: 'make', apk: 'make', pacman: 'make' },
    attempt: () => (findProgram('ninja') ? tryProgram('ninja') : tryProgram('make')),
  },
  {
    what: 'pkg-config',
    packages: { apt: 'pkg-config', dnf: 'pkgconf-pkg-config', apk: 'pkgconf', pacman: 'pkgconf' },
    attempt: () => tryProgram('pkg-config'),
  },
  {
    what: 'the kernel headers for user space',
    packages: { apt: 'linux-libc-dev', dnf: 'kernel-headers', apk: 'linux-headers', pacman: 'linux-api-headers' },
    attempt: () => tryLinking('#include <linux/bpf.h>\nint main() {}\n', []),
  },
  {
    what: 'libbpf 1.0 or newer, for programs',
    packages: { apt: 'libbpf-dev', dnf: 'libbpf-devel', apk: 'libbpf-dev', pacman: 'libbpf' },
    attempt: () => tryLinking(libbpfProbe, ['-lbpf']),
  },
  {
    what: "libbpf's headers, for BPF code",
    packages: { apt: 'libbpf-dev', dnf: 'libbpf-devel', apk: 'libbpf-dev', pacman: 'libbpf' },
    attempt: tryBpfHeaders,
  },
  {
    what: 'libelf',
    packages: { apt: 'libelf-dev', dnf: 'elfutils-libelf-devel', apk: 'elfutils-dev', pacman: 'libelf' },
    attempt: () => tryLinking('#include <libelf.h>\nint main() { return elf_version(1) == 0; }\n', ['-lelf']),
  },
  {
    what: 'libdw 0.188 or newer',
    packages: { apt: 'libdw-dev', dnf: 'elfutils-devel', apk: 'elfutils-dev', pacman: 'libelf' },
    attempt: () => tryLinking(libdwProbe, ['-ldw']),
  },
  {
    what: 'libiberty, which demangles names',
    packages: { apt: 'libiberty-dev', dnf: 'binutils-devel', apk: 'binutils-dev', pacman: 'binutils' },
    attempt: () => tryLinking(demangleProbe, ['-liberty']),
  },
  {
    what: 'zlib',
    packages: { apt: 'zlib1g-dev', dnf: 'zlib-devel', apk: 'zlib-dev', pacman: 'zlib' },
    attempt: () => tryLinking('#include <zlib.h>\nint main() { return zlibVersion() == nullptr; }\n', ['-lz']),
  },
];

/** The requirements that this machine does not meet, each with what its trial said. */
export function missingRequirements() {
  return requirements.flatMap((requirement) => {
    const { ok, output } = requirement.attempt();
    return ok ? [] : [{ ...requirement, output: output.trim() }];
  });
}
