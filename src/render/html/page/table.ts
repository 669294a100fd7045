/** A table to sort, search and walk through with the keyboard; only the rows that are looked at are in the document. */
import { formatCount } from '../../numbers.ts';
import { button, type Child, el } from './dom.ts';

export interface Column<Row> {
  title: string;
  /** what the title does not say */
  help?: string;
  align?: 'right';
  cell(row: Row): Child;
  /** null: last, whichever way */
  sortBy(row: Row): number | string | null;
}

interface Options<Row> {
  label: string;
  columns: readonly Column<Row>[];
  /** the same for the same thing at another time */
  keyOf(row: Row): string;
  /** what a search looks into */
  textOf(row: Row): string;
  classOf?(row: Row): string;
  /** opened below a row */
  details?(row: Row): Node;
  empty: string;
}

const PAGE = 50;
const MORE = 500;

export class DataTable<Row> {
  readonly element: HTMLElement;
  readonly #options: Options<Row>;
  readonly #body = el('tbody');
  readonly #heads: HTMLElement[];
  readonly #foot = el('p', { class: 'more', 'aria-live': 'polite' });
  readonly #open = new Set<string>();
  readonly #texts = new Map<string, string>();
  #rows: readonly Row[] = [];
  #shown: Row[] = [];
  #most = PAGE;
  #focused: string | null = null;
  #sort: { column: number; descending: boolean } | null = null;
  #words: string[] = [];
  #accepts: (row: Row) => boolean = () => true;

  constructor(options: Options<Row>) {
    this.#options = options;
    this.#heads = options.columns.map((column, i) =>
      el(
        'th',
        { scope: 'col', class: column.align ?? 'left', ...(column.help === undefined ? {} : { title: column.help }) },
        button(column.title, () => this.sort(i)),
      ),
    );
    this.#body.addEventListener('keydown', (event) => this.#onKey(event));
    this.#body.addEventListener('click', (event) => this.#onClick(event));
    this.element = el(
      'div',
      { class: 'table' },
      el(
        'div',
        { class: 'scroll' },
        el(
          'table',
          { role: 'grid', 'aria-label': options.label },
          el('thead', {}, el('tr', {}, ...this.#heads)),
          this.#body,
        ),
      ),
      this.#foot,
    );
  }

  /** Other rows, or the same at another time. Order, filters and what is open stay. */
  update(rows: readonly Row[]): void {
    this.#rows = rows;
    this.#texts.clear();
    this.#render();
  }

  /** Rows that have all these words, and that `accepts` takes. */
  filter(words: string, accepts: (row: Row) => boolean): void {
    this.#words = words
      .toLowerCase()
      .split(/\s+/)
      .filter((word) => word !== '');
    this.#accepts = accepts;
    this.#most = PAGE;
    this.#render();
  }

  /** By that column; again: the other way; a third time: as it came. */
  sort(column: number): void {
    const text = typeof this.#options.columns[column]?.sortBy(this.#rows[0] as Row) === 'string';
    const first = !text;
    if (this.#sort?.column !== column) this.#sort = { column, descending: first };
    else this.#sort = this.#sort.descending === first ? { column, descending: !first } : null;
    this.#render();
  }

  #render(): void {
    const { columns, keyOf, classOf, empty } = this.#options;
    const found = this.#rows.filter((row) => this.#accepts(row) && this.#has(row));
    const ordered = this.#ordered(found);
    this.#shown = ordered.slice(0, this.#most);
    const keys = this.#shown.map(keyOf);
    if (this.#focused === null || !keys.includes(this.#focused)) this.#focused = keys[0] ?? null;
    const hadFocus = this.#body.contains(document.activeElement);
    this.#body.replaceChildren(
      ...this.#shown.flatMap((row, i) => {
        const key = keys[i] ?? '';
        const line = el(
          'tr',
          {
            tabindex: key === this.#focused ? '0' : '-1',
            'data-row': String(i),
            class: classOf?.(row) ?? '',
            ...(this.#options.details === undefined ? {} : { 'aria-expanded': String(this.#open.has(key)) }),
          },
          ...columns.map((column) => el('td', { class: column.align ?? 'left' }, column.cell(row))),
        );
        return this.#open.has(key) ? [line, this.#detailsOf(row)] : [line];
      }),
      ...(found.length === 0
        ? [
            el(
              'tr',
              {},
              el(
                'td',
                { class: 'none', colspan: String(columns.length) },
                this.#rows.length === 0 ? empty : 'nothing matches',
              ),
            ),
          ]
        : []),
    );
    if (hadFocus) this.#line(this.#focused)?.focus();
    this.#heads.forEach((head, i) => {
      const by = this.#sort?.column === i ? (this.#sort.descending ? 'descending' : 'ascending') : 'none';
      head.setAttribute('aria-sort', by);
    });
    this.#renderFoot(found.length);
  }

  #renderFoot(found: number): void {
    const hidden = found - this.#shown.length;
    const of = found === this.#rows.length ? '' : ` of ${formatCount(this.#rows.length)}`;
    this.#foot.replaceChildren(
      ...(found === 0
        ? []
        : [`${formatCount(this.#shown.length)} of ${formatCount(found)}${of === '' ? '' : ` found${of}`} shown `]),
      ...(hidden > 0
        ? [
            button(`Show ${formatCount(Math.min(hidden, MORE))} more`, () => {
              this.#most += MORE;
              this.#render();
            }),
          ]
        : []),
    );
    this.#foot.classList.toggle('quiet', hidden <= 0 && of === '');
  }

  #detailsOf(row: Row): HTMLElement {
    const { columns, details } = this.#options;
    return el('tr', { class: 'details' }, el('td', { colspan: String(columns.length) }, details?.(row) ?? null));
  }

  #has(row: Row): boolean {
    if (this.#words.length === 0) return true;
    const key = this.#options.keyOf(row);
    let text = this.#texts.get(key);
    if (text === undefined) {
      text = this.#options.textOf(row).toLowerCase();
      this.#texts.set(key, text);
    }
    return this.#words.every((word) => text.includes(word));
  }

  #ordered(rows: Row[]): Row[] {
    if (this.#sort === null) return rows;
    const { column, descending } = this.#sort;
    const by = this.#options.columns[column]?.sortBy ?? (() => null);
    const sign = descending ? -1 : 1;
    return rows
      .map((row) => ({ row, value: by(row) }))
      .sort((a, b) => {
        if (a.value === null || b.value === null) return Number(a.value === null) - Number(b.value === null);
        return sign * (a.value < b.value ? -1 : a.value > b.value ? 1 : 0);
      })
      .map(({ row }) => row);
  }

  #line(key: string | null): HTMLElement | null {
    const i = this.#shown.findIndex((row) => this.#options.keyOf(row) === key);
    return this.#body.querySelector(`[data-row="${i}"]`);
  }

  #indexOf(event: Event): number | null {
    const line = (event.target as Element).closest('tr[data-row]');
    return line === null ? null : Number(line.getAttribute('data-row'));
  }

  #onKey(event: KeyboardEvent): void {
    const at = this.#indexOf(event);
    if (at === null || event.target instanceof HTMLButtonElement) return;
    const last = this.#shown.length - 1;
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: last, PageDown: at + 10, PageUp: at - 10 }[
      event.key
    ];
    if (next !== undefined) this.#focus(Math.max(0, Math.min(last, next)));
    else if (event.key === 'Enter' || event.key === ' ') this.#toggle(at);
    else if (event.key === 'ArrowRight' && !this.#isOpen(at)) this.#toggle(at);
    else if (event.key === 'ArrowLeft' && this.#isOpen(at)) this.#toggle(at);
    else return;
    event.preventDefault();
  }

  #onClick(event: Event): void {
    const at = this.#indexOf(event);
    // Who marks text in a row does not want it to move.
    if (at === null || getSelection()?.isCollapsed === false) return;
    this.#focus(at);
    this.#toggle(at);
  }

  #focus(at: number): void {
    const row = this.#shown[at];
    if (row === undefined) return;
    this.#line(this.#focused)?.setAttribute('tabindex', '-1');
    this.#focused = this.#options.keyOf(row);
    const line = this.#line(this.#focused);
    line?.setAttribute('tabindex', '0');
    line?.focus();
  }

  #isOpen(at: number): boolean {
    const row = this.#shown[at];
    return row !== undefined && this.#open.has(this.#options.keyOf(row));
  }

  #toggle(at: number): void {
    const row = this.#shown[at];
    if (row === undefined || this.#options.details === undefined) return;
    const key = this.#options.keyOf(row);
    if (!this.#open.delete(key)) this.#open.add(key);
    this.#render();
  }
}
