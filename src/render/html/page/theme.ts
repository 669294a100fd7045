/** Light or dark: as the reader's system says until he chooses; light on paper. */
import { el } from './dom.ts';

const CHOICES = ['auto', 'light', 'dark'] as const;

/** What fits on a sheet of A4 or letter between its margins: elements have no width of their own when one prints. */
const PAPER_PIXELS = 690;

const listeners: (() => void)[] = [];

/** How wide a drawing in `element` may be; 0 where nothing can be drawn. */
export function widthFor(element: Element): number {
  return matchMedia('print').matches ? PAPER_PIXELS : element.clientWidth;
}

/** Drawings must be made again for other colours, and for paper; all else follows the style sheet. */
export function onMedium(listener: () => void): void {
  listeners.push(listener);
}

/** What a variable of the style sheet is now, as a colour that a canvas takes. */
export function colourOf(variable: string): string {
  const probe = el('span');
  probe.style.color = `var(${variable})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

export function themeSwitch(): HTMLElement {
  const select = el(
    'select',
    { id: 'theme', 'aria-label': 'Colours' },
    ...CHOICES.map((choice) => el('option', { value: choice }, choice)),
  );
  select.addEventListener('change', () => {
    document.documentElement.dataset['theme'] = select.value;
    announce();
  });
  for (const query of ['(prefers-color-scheme: dark)', 'print']) matchMedia(query).addEventListener('change', announce);
  return el('label', { class: 'theme' }, 'Colours ', select);
}

function announce(): void {
  for (const listener of listeners) listener();
}
