/** Programs that the benchmark measures beside socktrace, or with. What cannot be installed is named in the table. */
import { findProgram } from '../../lib/run.mjs';
import { ensureTools } from '../../lib/tools.mjs';

const tool = (name, package_) => ({ name, package: package_, present: () => findProgram(name) !== null });

const tools = [
  tool('taskset', 'util-linux'),
  tool('nsenter', 'util-linux'),
  tool('strace', 'strace'),
  tool('bpftrace', 'bpftrace'),
  // bcc's tools: with a compiler, and without.
  tool('tcptracer-bpfcc', 'bpfcc-tools'),
  tool('tcptracer', 'libbpf-tools'),
  tool('lsof', 'lsof'),
  tool('ss', 'iproute2'),
  tool('chromium', 'chromium'),
];

export const ensureBenchTools = () => ensureTools(tools, 'the benchmark');
