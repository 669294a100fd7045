/** Reads what symbol tables, demanglers and perf-maps call a function. Names are hostile: none may cost much to read. */
import type { CallFrame } from '../ledger/types.ts';

export interface FrameName {
  /** as short as it says the same: no arguments, no template arguments; null when nothing covers the address */
  name: string | null;
  file: string | null;
  line: number | null;
}

/** Longer names are cut before they are looked into. */
const LONGEST = 1_024;

const PYTHON = /^py::(.*?):(.*)$/s;
const JAVASCRIPT = /^(?:LazyCompile|JS|Function|Eval|Script):[~^*+-]?'?/;
/** name, file, line: the file begins at the first thing that looks like one */
const SCRIPT = /^(.*?) ?((?:node:|file:|\/|internal\/|\[).*?)(?::(\d{1,9}))?(?::\d{1,9})?$/s;
const JAVA_INTERNAL = /^L([\w$/]+);::?([\w$<>]+)/;
const RUST_HASH = /::h[0-9a-f]{16}$/;

/** The name of a frame, with the file and line that debug information or a perf-map gives. */
export function readName(frame: CallFrame): FrameName {
  const { file, line } = frame;
  if (frame.function === null) return { name: null, file, line };
  const symbol = frame.function.slice(0, LONGEST);
  const python = PYTHON.exec(symbol);
  if (python !== null) return { name: python[1] ?? '', file: file ?? python[2] ?? null, line };
  if (JAVASCRIPT.test(symbol)) return readScript(symbol.replace(JAVASCRIPT, ''), frame);
  const java = JAVA_INTERNAL.exec(symbol);
  if (java !== null) return { name: `${java[1]?.replaceAll('/', '.')}.${java[2]}`, file, line };
  return { name: bareName(symbol.replace(RUST_HASH, '')), file, line };
}

function readScript(text: string, { file, line }: CallFrame): FrameName {
  const [, name, script, at] = SCRIPT.exec(text) ?? [];
  if (script === undefined) return { name: text.trim() || '(anonymous)', file, line };
  return { name: name || '(anonymous)', file: file ?? script, line: line ?? (at === undefined ? null : Number(at)) };
}

const PLAIN = /^[\w.$@]*$/;
/** `net/http.(*conn).serve`, `main.(*Pool).Acquire` */
const GO_METHOD = /^[^ <:]*\.\(\*?/;
/** What has brackets or spaces that are no structure, and else each character. */
const TOKENS =
  /\boperator(?:\(\)|\[\]| [\w:]+|[<>=!+\-*/%^&|~,]+(?: (?=<))?)|\(anonymous namespace\)|\[abi:\w+\]|<(?:cl)?init>|./gs;

const CLOSING_OF: ReadonlyMap<string, string> = new Map(
  ['<>', '()', '[]', '{}'].map(([open = '', close = '']) => [open, close]),
);
const CLOSING: ReadonlySet<string> = new Set(CLOSING_OF.values());

/** A demangled name without return type and arguments, and with template arguments as `<...>`. */
function bareName(symbol: string): string {
  // `<T as Trait>::method` of Rust says who in its brackets.
  if (PLAIN.test(symbol) || GO_METHOD.test(symbol) || symbol.startsWith('<')) return symbol;
  let bare = '';
  let depth = 0;
  for (const token of symbol.match(TOKENS) ?? []) {
    if (CLOSING.has(token)) depth = Math.max(0, depth - 1);
    else if (depth > 0) depth += CLOSING_OF.has(token) ? 1 : 0;
    else if (token === '(') break;
    else if (token === ' ') bare = '';
    else if (CLOSING_OF.has(token)) {
      bare += `${token}...${CLOSING_OF.get(token)}`;
      depth = 1;
    } else bare += token;
  }
  return bare === '' ? symbol : bare;
}
