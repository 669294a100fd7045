// Which frames of a stack are the program's own, as stacks of each language come from the unwinder.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CallFrame } from '../../src/ledger/types.ts';
import { foldPath } from '../../src/report/fold.ts';
import { readName } from '../../src/report/frame-names.ts';
import { frame, libcFrame } from './facts.ts';

/** `name @ module`; a name of `-` is none. */
function stack(...texts: string[]): CallFrame[] {
  return texts.map((text) => {
    const [name, module] = text.split(' @ ');
    return frame(name === '-' ? null : (name ?? null), null, { module: module ?? '/srv/app/service' });
  });
}

/** Short names of what is left; unnamed frames by their module. */
function folded(...texts: string[]): string[] {
  return foldPath(stack(...texts)).frames.map((one) => readName(one).name ?? one.module ?? '?');
}

const LIBC = '/usr/lib/x86_64-linux-gnu/libc.so.6';
const START = [`__libc_start_call_main @ ${LIBC}`, `__libc_start_main@@GLIBC_2.34 @ ${LIBC}`, '_start'];

describe('the frames of the program', () => {
  it('C: from the caller of the wrapper to main', () => {
    expect(folded(`bind @ ${LIBC}`, 'try_bind', 'acquire_port', 'main', ...START)).toEqual([
      'try_bind',
      'acquire_port',
      'main',
    ]);
  });

  it('C: a thread begins at its own function, and frames without names are kept', () => {
    expect(folded(`socket @ ${LIBC}`, '-', 'worker', `start_thread @ ${LIBC}`, `clone3 @ ${LIBC}`)).toEqual([
      '/srv/app/service',
      'worker',
    ]);
  });

  it('C: linked statically, also with clones of functions that are called as packages of Go are', () => {
    const names = ['__socket', 'net.constprop.0', 'main', '__libc_start_call_main', '__libc_start_main_impl', '_start'];
    expect(folded(...names)).toEqual(['net.constprop.0', 'main']);
    expect(folded('__bind', 'connect', 'main', '_start')).toEqual(['connect', 'main']);
  });

  it('C: of older and other C libraries, and of a module that was replaced', () => {
    expect(folded('socket @ /lib/ld-musl-x86_64.so.1', 'open_it', 'main')).toEqual(['open_it', 'main']);
    expect(folded('socket @ /lib/x86_64-linux-gnu/libc-2.31.so (deleted)', 'open_it')).toEqual(['open_it']);
    expect(folded('socket @ /lib/libpthread.so.0', 'open_it', '- @ /lib64/ld-linux-x86-64.so.2')).toEqual(['open_it']);
  });

  it('C: libraries that are not the runtime are part of the way', () => {
    expect(folded(`socket @ ${LIBC}`, 'Curl_socket @ /usr/lib/libcurl.so.4', 'fetch', 'main')).toEqual([
      'Curl_socket',
      'fetch',
      'main',
    ]);
    expect(folded(`socket @ ${LIBC}`, 'ldap_connect @ /usr/lib/ldap-tools', 'main')).toEqual(['ldap_connect', 'main']);
  });

  it('C: libuv and what is built in of it', () => {
    expect(folded(`bind @ ${LIBC}`, 'uv__tcp_bind @ /usr/lib/libuv.so.1', 'serve', 'uv_run', 'main')).toEqual([
      'serve',
      'main',
    ]);
  });

  it('C++: without std, arguments and template arguments', () => {
    expect(
      folded(
        `socket @ ${LIBC}`,
        'leak::Pool<std::vector<int, std::allocator<int> > >::acquire(std::shared_ptr<int>, int) const',
        'std::_Function_handler<void (), main::{lambda()#1}>::_M_invoke(std::_Any_data const&)',
        'void leak::run<std::thread>(std::thread&)',
        '(anonymous namespace)::Job::operator()(int) const',
        'std::thread::_State_impl<std::thread::_Invoker<std::tuple<main::{lambda()#1}> > >::_M_run()',
        '- @ /usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30',
        `start_thread @ ${LIBC}`,
      ),
    ).toEqual(['leak::Pool<...>::acquire', 'leak::run<...>', '(anonymous namespace)::Job::operator()']);
  });

  it('Rust: without its library, and without hashes', () => {
    expect(
      folded(
        `socket @ ${LIBC}`,
        'std::net::tcp::TcpStream::connect',
        'service::pool::acquire::h0123456789abcdef',
        '<alloc::boxed::Box<F,A> as core::ops::function::FnOnce<Args>>::call_once::h0123456789abcdef',
        'std::sys::backtrace::__rust_begin_short_backtrace',
        'main',
        ...START,
      ),
    ).toEqual(['service::pool::acquire', 'main']);
    // A program in C++ may call its own namespace so.
    expect(folded(`socket @ ${LIBC}`, 'core::Engine::open()', 'main')).toEqual(['core::Engine::open', 'main']);
  });

  it('Go: without runtime, syscall, net and poll', () => {
    expect(
      folded(
        'runtime/internal/syscall.Syscall6',
        'syscall.RawSyscall6',
        'syscall.socket',
        'net.sysSocket',
        'net.(*sysDialer).dialTCP',
        'main.(*Pool).Acquire',
        'net/http.(*conn).serve',
        'main.main.func1',
        'runtime.goexit.abi0',
      ),
    ).toEqual(['main.(*Pool).Acquire', 'net/http.(*conn).serve', 'main.main.func1']);
    expect(folded('syscall.Bind', 'internal/poll.(*FD).Accept', 'main.main', 'runtime.main')).toEqual(['main.main']);
  });

  it('Python with perf names: the functions of the program, without the interpreter and its library', () => {
    const python = '/usr/bin/python3.12';
    expect(
      folded(
        `socket @ ${LIBC}`,
        'sock_initobj @ /usr/lib/python3.12/lib-dynload/_socket.cpython-312-x86_64-linux-gnu.so',
        `_PyObject_MakeTpCall @ ${python}`,
        'py::socket.__init__:/usr/lib/python3.12/socket.py @ [jit]',
        `_PyEval_EvalFrameDefault @ ${python}`,
        'py::Pool.acquire:/srv/app/pool.py @ [jit]',
        `- @ ${python}`,
        'py::call:/usr/lib/python3/dist-packages/somebody/else.py @ [jit]',
        'py::<module>:/srv/app/main.py @ [jit]',
        `Py_BytesMain @ ${python}`,
        ...START.slice(0, 2),
        `_start @ ${python}`,
      ),
    ).toEqual(['Pool.acquire', 'call', '<module>']);
  });

  it('Python without: everything, and it says that none is of the program', () => {
    const frames = stack(`socket @ ${LIBC}`, '- @ /usr/bin/python3.11', 'Py_BytesMain @ /usr/lib/libpython3.11.so.1.0');
    expect(foldPath(frames)).toEqual({ frames, isOwnCode: false });
  });

  it('node with perf names: the functions of the program, without V8, libuv and node', () => {
    const node = '/usr/local/bin/node';
    expect(
      folded(
        `bind @ ${LIBC}`,
        `uv__tcp_bind @ ${node}`,
        `node::TCPWrap::Bind(v8::FunctionCallbackInfo<v8::Value> const&) @ ${node}`,
        `Builtins_CallApiCallback @ ${node}`,
        'LazyCompile:*listen node:net:1900:10 @ [jit]',
        'LazyCompile:~acquire /srv/app/pool.js:12:7 @ [jit]',
        `Builtins_InterpreterEntryTrampoline @ ${node}`,
        'JS:^Server.serve file:///srv/app/main.mjs:3:1 @ [jit]',
        'Builtin:JSEntry @ [jit]',
        `node::Start(int, char**) @ ${node}`,
        `_start @ ${node}`,
      ),
    ).toEqual(['acquire', 'Server.serve']);
    expect(readName(frame('LazyCompile:~acquire /srv/app/pool.js:12:7'))).toEqual({
      name: 'acquire',
      file: '/srv/app/pool.js',
      line: 12,
    });
  });

  it("node: where the event loop connects for the program, node's own functions are what there is to show", () => {
    const frames = stack('uv__tcp_bind @ /usr/bin/node', 'LazyCompile:~internalConnect node:net:1040:25 @ [jit]');
    expect(foldPath(frames)).toEqual({ frames: frames.slice(1), isOwnCode: false });
  });

  it('node: code that no perf-map names is still code of the program', () => {
    expect(folded('uv__tcp_bind @ /usr/bin/node', '- @ [jit]', 'Builtins_JSEntry @ /usr/bin/node')).toEqual(['[jit]']);
  });

  it('Java: without the JVM, its stubs and its class library', () => {
    const home = '/usr/lib/jvm/java-17-openjdk-amd64/lib';
    expect(
      folded(
        `socket @ ${LIBC}`,
        `Java_sun_nio_ch_Net_socket0 @ ${home}/libnio.so`,
        'int sun.nio.ch.Net.socket0(boolean, boolean, boolean, boolean) @ [jit]',
        'Interpreter @ [jit]',
        'I2C/C2I adapters @ [jit]',
        'java.nio.channels.SocketChannel com.acme.Pool$Slot.open(byte[]) @ [jit]',
        'monitorenter Runtime1 stub @ [jit]',
        'acme_native_open @ /srv/app/libacme.so',
        'Lcom/acme/Pool;::acquire @ [jit]',
        'void com.acme.Main.<init>(int) @ [jit]',
        'void java.lang.Thread.run() @ [jit]',
        'call_stub @ [jit]',
        `JavaCalls::call_helper(JavaValue*, methodHandle const&) @ ${home}/server/libjvm.so`,
        `start_thread @ ${LIBC}`,
      ),
    ).toEqual(['com.acme.Pool$Slot.open', 'acme_native_open', 'com.acme.Pool.acquire', 'com.acme.Main.<init>']);
    // Without a JVM in the stack these are a program's.
    expect(folded('Interpreter', 'java.lang', '- @ /usr/lib/libnet.so')).toEqual([
      'Interpreter',
      'java.lang',
      '/usr/lib/libnet.so',
    ]);
  });

  it('of nothing is nothing', () => {
    expect(foldPath([])).toEqual({ frames: [], isOwnCode: false });
  });
});

describe('names', () => {
  it.each([
    ['bool operator< <int>(A const&, A const&)', 'operator< <...>'],
    ['Foo::operator bool() const', 'Foo::operator bool'],
    ['main::{lambda(int)#1}::operator()(int) const', 'main::{...}::operator()'],
    ['<app::Pool as core::ops::Drop>::drop', '<app::Pool as core::ops::Drop>::drop'],
    ['main.Map[go.shape.int]', 'main.Map[...]'],
    ['main.use[go.shape.interface { Accept() (net.Conn, error) }].func1', 'main.use[...].func1'],
    ['leak::name[abi:cxx11](int)', 'leak::name[abi:cxx11]'],
    ['int[] com.acme.Pool$Slot.ports(byte[])', 'com.acme.Pool$Slot.ports'],
    ['Foo::operator[](int) const', 'Foo::operator[]'],
    ['LazyCompile:~ /app/leak.js:1:1', '(anonymous)'],
    ['f(', 'f'],
    ['(', '('],
  ])('%s', (symbol, name) => {
    expect(readName(frame(symbol)).name).toBe(name);
  });

  it('debug information knows better than a perf-map', () => {
    expect(readName(frame('py::f:/tmp/wrong.py', '/srv/right.py:7'))).toEqual({
      name: 'f',
      file: '/srv/right.py',
      line: 7,
    });
  });

  it('any name can be read, and of any stack something is shown', () => {
    const prefix = fc.constantFrom('', 'py::', 'JS:~', 'LazyCompile:*', 'L', 'std::', '<', 'operator', '(');
    const name = fc.tuple(prefix, fc.string({ unit: 'binary' })).map((parts) => parts.join(''));
    const frames = fc.array(
      name.map((symbol) => frame(symbol)),
      { minLength: 1 },
    );
    fc.assert(
      fc.property(frames, (all) => {
        expect(foldPath(all).frames.length).toBeGreaterThan(0);
        for (const one of all) expect(typeof readName(one).name).toBe('string');
      }),
    );
  });

  it('a name of a megabyte is read to its first thousand characters', () => {
    const long = ['f<', 'operator ', ':1', 'node:', '(', '/ '].map((part) => part.repeat(200_000));
    for (const text of long) {
      for (const prefix of ['', 'py::', 'JS:~', 'L']) {
        const { name } = readName(libcFrame(`${prefix}${text}`));
        expect(name?.length).toBeLessThanOrEqual(1_024);
      }
    }
  });
});
