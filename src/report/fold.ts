/** Which frames of a call path are the program's own. The others are how it got there: libc, runtimes, interpreters. */
import type { CallFrame } from '../ledger/types.ts';
import { readName } from './frame-names.ts';

export interface FoldedPath {
  /** innermost first; all frames where none is the program's */
  frames: CallFrame[];
  /** whether `frames` begins at the program's own code */
  isOwnCode: boolean;
}

/**
 * `library` is code of the language's own library that a JIT or interpreter names, such as socket.py or node:net: shown
 * where the program has no frame on the stack, as when an event loop connects for it.
 */
type Origin = 'program' | 'library' | 'runtime';

/** What the frames of a stack, taken together, tell about its language. */
interface Language {
  java: boolean;
  rust: boolean;
}

/** Leaves the program's own frames of a path. */
export function foldPath(frames: readonly CallFrame[]): FoldedPath {
  const language = languageOf(frames);
  const origins = frames.map((frame, i) => originOf(frame, i === 0, language));
  for (const origin of ['program', 'library'] as const) {
    const own = frames.filter((_, i) => origins[i] === origin);
    if (own.length > 0) return { frames: own, isOwnCode: origin === 'program' };
  }
  return { frames: [...frames], isOwnCode: false };
}

/** The file name of a module, without what the kernel appends when it was replaced. */
export function moduleName(module: string): string {
  return module.replace(/ \(deleted\)$/, '').replace(/^.*\//s, '');
}

/** Whether a frame is of what runs a script, whatever the script does. */
export function isOfInterpreter({ module }: CallFrame): boolean {
  if (module === null) return false;
  const name = moduleName(module);
  return INTERPRETERS.test(name) || INTERPRETER_LIBRARIES.test(name) || module.includes('/lib-dynload/');
}

const RUNTIME_MODULES =
  /^(?:ld|libc|libpthread|libdl|librt|libm|libstdc\+\+|libgcc_s|libc\+\+|libc\+\+abi|libunwind|libuv|libjvm|libjli|libpython\d[\d.]*|libnode|linux-vdso)[-.](?:.*[-.])?so(?:\.|$)/;
/** Interpreters whose own code is all that their executable has. */
const INTERPRETERS = /^(?:python\d?(?:\.\d+)?|node|nodejs)$/;
/** The same as a library, and what is loaded into it. */
const INTERPRETER_LIBRARIES = /^(?:libpython\d[\d.]*|libnode|libjvm)\.so(?:\.|$)/;
const JAVA_MODULES = /^(?:java|lib(?:java|net|nio|extnet|jimage|zip)\.so)$/;

/** Beyond main(), and of a program that has libc in itself. */
const STARTERS =
  /^(?:_start|_dl_start_user|_?_?libc_start_(?:main|call_main)\w*|call_init|_*clone3?|start_thread|thread_start|_*pthread_create\w*|_*syscall_cancel\w*|internal_syscall_cancel|__rust_try)(?:@|\.|$)/;
const WRAPPERS = /^(?:__(?:libc_|GI_)?)?(?:socket|bind|connect|listen|accept4?|syscall)(?:@|$)/;
const NATIVE = /^(?:std|__gnu_cxx|__cxxabiv1|node|v8|v8_inspector)::|^(?:Builtins_|uv__?[a-z])/;
const RUST = /^<?(?:core|alloc|std)::|__rust_(?:begin|end)_short_backtrace/;
const GO = /^(?:runtime|syscall|net|internal\/[\w/]+|runtime\/[\w/]+|golang\.org\/x\/sys\/unix)\.[\w(]/;
/** A C function of that name, as compilers clone them. */
const CLONED = /\.(?:constprop|isra|part|cold|lto_priv|llvm)(?:\.|$)/;
const SCRIPT_STUBS = /^(?:Builtin|BytecodeHandler|Handler|Stub|RegExp|Bytecode):/;
/** What the JVM generates and is no method: `Interpreter`, `I2C/C2I adapters`, `monitorenter Runtime1 stub`. */
const JVM_STUB = /^[^.;]*$/;
const JAVA_LIBRARY = /^(?:java|javax|jdk|sun|com\.sun)\./;
const PYTHON_LIBRARY = /^<frozen |\/lib(?:64)?\/python\d(?:\.\d+)?\/(?!(?:site|dist)-packages\/)/;
const NODE_LIBRARY = /^(?:node:|internal\/)/;

function languageOf(frames: readonly CallFrame[]): Language {
  const has = (test: (frame: CallFrame) => boolean): boolean => frames.some(test);
  return {
    java: has(({ module }) => module !== null && moduleName(module) === 'libjvm.so'),
    rust: has((frame) => /__rust_|\bstd::rt::|::h[0-9a-f]{16}$/.test(frame.function?.slice(-256) ?? '')),
  };
}

function originOf(frame: CallFrame, isInnermost: boolean, language: Language): Origin {
  const module = frame.module === null ? '' : moduleName(frame.module);
  if (isRuntimeModule(module, frame.module ?? '', language)) return 'runtime';
  const symbol = frame.function;
  if (symbol === null) return 'program';
  if (SCRIPT_STUBS.test(symbol) || (language.java && module === '[jit]' && JVM_STUB.test(symbol))) return 'runtime';
  const { name, file } = readName(frame);
  if (/^(?:py::|(?:LazyCompile|JS|Function|Eval|Script):)/.test(symbol))
    return file !== null && (PYTHON_LIBRARY.test(file) || NODE_LIBRARY.test(file)) ? 'library' : 'program';
  return originOfName(name ?? '', isInnermost, language);
}

function isRuntimeModule(module: string, path: string, { java }: Language): boolean {
  return (
    module === '[vdso]' ||
    RUNTIME_MODULES.test(module) ||
    INTERPRETERS.test(module) ||
    path.includes('/lib-dynload/') ||
    (java && JAVA_MODULES.test(module))
  );
}

function originOfName(name: string, isInnermost: boolean, { java, rust }: Language): Origin {
  if (STARTERS.test(name) || NATIVE.test(name) || (isInnermost && WRAPPERS.test(name))) return 'runtime';
  if (rust && RUST.test(name)) return 'runtime';
  if (GO.test(name) && !CLONED.test(name)) return 'runtime';
  return java && JAVA_LIBRARY.test(name) ? 'library' : 'program';
}
