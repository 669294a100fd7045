/** What the viewer has chosen, and what each key changes of it. */

export const SORTS = ['count', 'ports', 'age', 'growth', 'kind'] as const;
export type Sort = (typeof SORTS)[number];

export type NamedKey = 'up' | 'down' | 'pageup' | 'pagedown' | 'home' | 'end' | 'enter' | 'escape' | 'backspace';
/** A key by its name, or the character it types. */
export type Key = { is: NamedKey } | { is: 'text'; text: string };

export interface LiveState {
  page: { is: 'findings' } | { is: 'finding'; scroll: number } | { is: 'help' };
  sort: Sort;
  reversed: boolean;
  /** its identity; null: the first row */
  selected: string | null;
  /** where the selected row was, for when its finding is gone */
  row: number;
  /** on which line of the table: it stays there while others come, go and are sorted */
  line: number;
  /** identities of all rows as they are sorted now, until they are sorted again; null: sorts them */
  order: readonly string[] | null;
  filter: string;
  /** the filter is being typed */
  typing: boolean;
  paused: boolean;
  leaving: boolean;
}

export const FIRST_STATE: LiveState = {
  page: { is: 'findings' },
  sort: 'count',
  reversed: false,
  selected: null,
  row: 0,
  line: 0,
  order: null,
  filter: '',
  typing: false,
  paused: false,
  leaving: false,
};

const LONGEST_FILTER = 80;
const PRINTABLE = /^[^\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]+$/u;

/** What is on the screen when a key is pressed. */
export interface Shown {
  /** identities of all rows in their order */
  rows: readonly string[];
  /** rows that fit */
  height: number;
  /** the row in the first line */
  first: number;
  /** lines of the open page that do not fit */
  mostScroll: number;
}

/** Before the first screen. */
export const NOTHING_SHOWN: Shown = { rows: [], height: 1, first: 0, mostScroll: 0 };

/** The state after a key. Keys that mean nothing leave it as it is. */
export function press(state: LiveState, key: Key, shown: Shown): LiveState {
  const next = pressed(state, key, shown);
  const { sort, reversed, filter } = next;
  const isSame = sort === state.sort && reversed === state.reversed && filter === state.filter;
  return isSame ? next : { ...next, order: null };
}

function pressed(state: LiveState, key: Key, shown: Shown): LiveState {
  if (state.typing) return typed(state, key);
  if (key.is === 'text' && key.text === 'q') return { ...state, leaving: true };
  if (key.is === 'text' && key.text === 'p') return { ...state, paused: !state.paused };
  switch (state.page.is) {
    case 'findings':
      return pressInFindings(state, key, shown);
    case 'finding':
      if (isBack(key)) return { ...state, page: { is: 'findings' } };
      if (isHelp(key)) return { ...state, page: { is: 'help' } };
      return {
        ...state,
        page: { is: 'finding', scroll: moved(state.page.scroll, key, shown.height, shown.mostScroll) },
      };
    case 'help':
      return isBack(key) || isHelp(key) ? { ...state, page: { is: 'findings' } } : state;
  }
}

function pressInFindings(state: LiveState, key: Key, shown: Shown): LiveState {
  const row = rowOf(state, shown.rows);
  if (key.is === 'text') {
    switch (key.text) {
      case 's':
        return { ...state, sort: SORTS[(SORTS.indexOf(state.sort) + 1) % SORTS.length] ?? 'count', reversed: false };
      case 'S':
        return { ...state, reversed: !state.reversed };
      case '/':
        return { ...state, typing: true };
      case '?':
        return { ...state, page: { is: 'help' } };
    }
  }
  if (key.is === 'escape') return { ...state, filter: '' };
  if (key.is === 'enter') {
    const selected = shown.rows[row];
    return selected === undefined ? state : { ...state, selected, row, page: { is: 'finding', scroll: 0 } };
  }
  const next = moved(row, key, shown.height, shown.rows.length - 1);
  if (next === row) return state;
  const line = row - shown.first;
  // By the screen the rows move, else the selection does, to the edge.
  const isPaged = Math.abs(next - row) === shown.height;
  const nextLine = isPaged ? line : Math.max(0, Math.min(line + next - row, shown.height - 1));
  return { ...state, selected: shown.rows[next] ?? null, row: next, line: nextLine };
}

function typed(state: LiveState, key: Key): LiveState {
  switch (key.is) {
    case 'enter':
      return { ...state, typing: false };
    case 'escape':
      return { ...state, typing: false, filter: '' };
    case 'backspace':
      return state.filter === ''
        ? { ...state, typing: false }
        : { ...state, filter: [...state.filter].slice(0, -1).join('') };
    case 'text':
      if (!PRINTABLE.test(key.text) || state.filter.length + key.text.length > LONGEST_FILTER) return state;
      return { ...state, filter: state.filter + key.text };
    default:
      return state;
  }
}

/** Where the selection is now: at its finding, else at the row where that was. */
export function rowOf({ selected, row }: LiveState, rows: readonly string[]): number {
  const found = selected === null ? 0 : rows.indexOf(selected);
  return Math.max(0, Math.min(found === -1 ? row : found, rows.length - 1));
}

/** Which row stands in the first line, with the selected one at `at`, where `height` of `count` rows fit. */
export function firstOf({ line }: LiveState, at: number, height: number, count: number): number {
  return Math.max(0, Math.min(at - Math.min(line, height - 1), count - height));
}

function moved(from: number, key: Key, page: number, last: number): number {
  return Math.max(0, Math.min(from + distance(key, page), last));
}

function distance(key: Key, page: number): number {
  switch (key.is === 'text' ? key.text : key.is) {
    case 'up':
    case 'k':
      return -1;
    case 'down':
    case 'j':
      return 1;
    case 'pageup':
      return -page;
    case 'pagedown':
    case ' ':
      return page;
    case 'home':
      return Number.NEGATIVE_INFINITY;
    case 'end':
      return Number.POSITIVE_INFINITY;
    default:
      return 0;
  }
}

function isBack(key: Key): boolean {
  return key.is === 'escape' || key.is === 'backspace';
}

function isHelp(key: Key): boolean {
  return key.is === 'text' && key.text === '?';
}
