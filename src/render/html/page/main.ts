/** Builds the page from the data that it carries. */
import 'uplot/dist/uPlot.min.css';
import './main.css';
import { DATA_ID, type PageData } from '../data.ts';
import { el } from './dom.ts';
import { failuresSection } from './failures.ts';
import { findingsSection } from './findings.ts';
import { flameSection } from './flame.ts';
import { accountsSection, nextSection, observedSection, portsSection, processesSection } from './host.ts';
import { themeSwitch } from './theme.ts';
import { timelineSection, windowBar } from './timeline.ts';
import { verdictSection } from './verdict.ts';
import { View } from './view.ts';

function main(): void {
  const { report, timeline } = JSON.parse(document.getElementById(DATA_ID)?.textContent ?? '') as PageData;
  const view = new View(report, timeline);
  const sections = [
    timelineSection(view),
    windowBar(view),
    findingsSection(view),
    flameSection(view),
    failuresSection(view),
    accountsSection(report),
    portsSection(report),
    processesSection(report),
    observedSection(report),
    nextSection(report),
  ].filter((section) => section !== null);
  document.body.append(
    el(
      'header',
      {},
      el('span', { class: 'tool' }, `${report.tool.name} ${report.tool.version}`),
      el(
        'nav',
        { 'aria-label': 'Parts of the report' },
        ...sections.flatMap(({ id, firstChild }) =>
          id === '' ? [] : [el('a', { href: `#${id}` }, firstChild?.textContent ?? id)],
        ),
      ),
      themeSwitch(),
    ),
    el('main', {}, verdictSection(report), ...sections),
  );
  document.addEventListener('keydown', ({ key, target }) => {
    // There it clears what was typed.
    if (key === 'Escape' && !(target instanceof HTMLInputElement && target.type === 'search')) view.reset();
  });
  performance.mark('socktrace-ready');
}

main();
