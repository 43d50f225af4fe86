/**
 * What the page does beyond being read: another theme, charts that are walked through by pointer and by keys, axes of
 * a sweep, copies of the raw data. All words come from the tables, so nothing is formatted here. It is a text because
 * the page's policy allows it by its hash.
 */
export const SCRIPT = `
'use strict';
const SVG = 'http://www.w3.org/2000/svg';
const byId = (id) => document.getElementById(id);
function made(name, properties) {
  return Object.assign(document.createElement(name), properties);
}
function drawn(parent, name) {
  return parent.appendChild(document.createElementNS(SVG, name));
}
function place(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

function followTheme() {
  const root = document.documentElement;
  const system = matchMedia('(prefers-color-scheme: dark)');
  const isDark = () => (root.dataset.theme ? root.dataset.theme === 'dark' : system.matches);
  const button = byId('theme');
  const tell = () => { button.textContent = isDark() ? 'Light colours' : 'Dark colours'; };
  button.addEventListener('click', () => { root.dataset.theme = isDark() ? 'light' : 'dark'; tell(); });
  system.addEventListener('change', tell);
  button.hidden = false;
  tell();
}

/** A chart as a slider over its data: move() gives the next datum for a key, at() the one under the pointer. */
function walkThrough(plot, { count, words, show, move, at }) {
  if (count === 0) return;
  const svg = plot.querySelector('svg');
  const cursor = drawn(svg, 'g');
  cursor.setAttribute('class', 'cursor');
  const tip = made('div', { className: 'tip', hidden: true, ariaHidden: 'true' });
  plot.append(tip);
  let current = 0;
  svg.setAttribute('aria-hidden', 'true');
  place(plot, {
    role: 'slider', tabindex: 0, 'aria-label': plot.dataset.title + ': arrow keys move through the data',
    'aria-valuemin': 0, 'aria-valuemax': count - 1,
  });
  const tell = () => {
    place(plot, { 'aria-valuenow': current, 'aria-valuetext': words(current).join(', ') });
  };
  const reveal = () => {
    const { x, y } = show(current, cursor);
    cursor.removeAttribute('hidden');
    cursor.style.display = '';
    tip.textContent = words(current).join('\\n');
    tip.hidden = false;
    const left = x * plot.clientWidth + (x > 0.6 ? -tip.offsetWidth - 12 : 12);
    tip.style.left = Math.max(-60, Math.min(left, plot.clientWidth - tip.offsetWidth)) + 'px';
    tip.style.top = Math.max(0, y - tip.offsetHeight / 2) + 'px';
    tell();
  };
  const conceal = () => { cursor.style.display = 'none'; tip.hidden = true; };
  plot.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') { conceal(); return; }
    const next = move(current, event.key);
    if (next === undefined) return;
    event.preventDefault();
    current = Math.max(0, Math.min(count - 1, next));
    reveal();
  });
  plot.addEventListener('focus', () => { if (plot.matches(':focus-visible')) reveal(); });
  plot.addEventListener('blur', conceal);
  plot.addEventListener('pointermove', (event) => {
    const box = plot.getBoundingClientRect();
    current = at((event.clientX - box.left) / box.width, event.clientY - box.top);
    reveal();
  });
  plot.addEventListener('pointerleave', () => { if (document.activeElement !== plot) conceal(); });
  conceal();
  tell();
}

function walkAlong(plot) {
  const table = byId(plot.dataset.table);
  const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const rows = table.tBodies[0].rows;
  const points = plot.dataset.points.split(' ').filter(Boolean).map((pair) => pair.split(',').map((part) => part / 1000));
  const top = Number(plot.dataset.top);
  const height = Number(plot.dataset.height);
  let line;
  let dot;
  walkThrough(plot, {
    count: points.length,
    words: (index) => [...rows[index].cells].map((cell, column) => heads[column] + ' ' + cell.textContent),
    show: (index, cursor) => {
      line = line || drawn(cursor, 'line');
      dot = dot || drawn(cursor, 'circle');
      const [x, y] = points[index];
      place(line, { x1: x * 100 + '%', x2: x * 100 + '%', y1: top, y2: top + height });
      place(dot, { cx: x * 100 + '%', cy: top + y * height, r: 4 });
      return { x, y: top + y * height };
    },
    move: (index, key) => ({
      ArrowLeft: index - 1, ArrowDown: index - 1, ArrowRight: index + 1, ArrowUp: index + 1,
      PageDown: index - Math.ceil(points.length / 10), PageUp: index + Math.ceil(points.length / 10),
      Home: 0, End: points.length - 1,
    })[key],
    at: (x) => {
      let nearest = 0;
      points.forEach((point, index) => { if (Math.abs(point[0] - x) < Math.abs(points[nearest][0] - x)) nearest = index; });
      return nearest;
    },
  });
}

function walkOver(plot) {
  const table = byId(plot.dataset.table);
  const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const columns = Number(plot.dataset.columns);
  const rows = Number(plot.dataset.rows);
  const height = Number(plot.dataset.height);
  const bound = (value, limit) => Math.max(0, Math.min(limit - 1, value));
  let box;
  walkThrough(plot, {
    count: columns * rows,
    words: (index) => {
      const { cells } = table.tBodies[0].rows[Math.floor(index / columns)];
      const column = 1 + (index % columns);
      return [cells[0].textContent, 'at ' + heads[column], cells[column].textContent + ' pages written'];
    },
    show: (index, cursor) => {
      box = box || drawn(cursor, 'rect');
      const [row, column] = [Math.floor(index / columns), index % columns];
      place(box, {
        x: (column * 100) / columns + '%', width: 100 / columns + '%',
        y: (row * height) / rows, height: height / rows,
      });
      return { x: (column + 0.5) / columns, y: ((row + 0.5) * height) / rows };
    },
    move: (index, key) => {
      const [row, column] = [Math.floor(index / columns), index % columns];
      const moves = {
        ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1], ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
        Home: [row, 0], End: [row, columns - 1], PageUp: [0, column], PageDown: [rows - 1, column],
      };
      return moves[key] && bound(moves[key][0], rows) * columns + bound(moves[key][1], columns);
    },
    at: (x, y) => bound(Math.floor((y * rows) / height), rows) * columns + bound(Math.floor(x * columns), columns),
  });
}

function chooser(label, choices, chosen) {
  const select = made('select');
  for (const [value, text] of choices) select.append(made('option', { value, textContent: text, selected: String(value) === String(chosen) }));
  const whole = made('label', { textContent: label });
  whole.append(select);
  return { whole, select };
}

/** Lays the fields of a sweep out anew: the fields themselves stay as they are. */
function layOut(sweep, axes, down, across) {
  const fields = new Map([...sweep.querySelectorAll('[data-indices]')].map((field) => [field.dataset.indices, field]));
  const others = axes.map((_, axis) => axis).filter((axis) => axis !== down && axis !== across);
  let chosen = [axes.map(() => 0)];
  for (const axis of others) {
    chosen = chosen.flatMap((indices) => axes[axis].labels.map((_, value) => indices.with(axis, value)));
  }
  sweep.replaceChildren(...chosen.map((indices) => {
    const caption = others.map((axis) => axes[axis].name + ' ' + axes[axis].labels[indices[axis]]).join(', ');
    const table = made('table');
    table.createCaption().textContent = caption;
    const head = table.createTHead().insertRow();
    const corner = made('th', { scope: 'col', className: 'corner' });
    corner.append(made('span', { textContent: axes[across].name + ' →' }), ' ', made('span', { textContent: axes[down].name + ' ↓' }));
    head.append(corner);
    for (const label of axes[across].labels) head.append(made('th', { scope: 'col', textContent: label }));
    const body = table.createTBody();
    axes[down].labels.forEach((label, row) => {
      const line = body.insertRow();
      line.append(made('th', { scope: 'row', textContent: label }));
      axes[across].labels.forEach((_, column) => {
        const field = fields.get(indices.with(down, row).with(across, column).join());
        line.append(field || made('td', { textContent: '–' }));
      });
    });
    const scroll = made('div', { className: 'scroll', tabIndex: 0 });
    place(scroll, { role: 'group', 'aria-label': 'Combinations, ' + caption });
    scroll.append(table);
    return scroll;
  }));
}

function chooseSweep(controls) {
  const sweep = controls.nextElementSibling;
  const axes = JSON.parse(sweep.dataset.axes);
  const measure = chooser('Show', JSON.parse(sweep.dataset.measures), sweep.dataset.measure);
  measure.select.addEventListener('change', () => { sweep.dataset.measure = measure.select.value; });
  controls.append(measure.whole);
  if (axes.length > 2) {
    const names = axes.map(({ name }, axis) => [axis, name]);
    const start = [sweep.dataset.down, sweep.dataset.across];
    const down = chooser('down', names, start[0]);
    const across = chooser('across', names, start[1]);
    const change = (changed, other) => () => {
      if (changed.select.value === other.select.value) {
        other.select.value = names.map(([axis]) => String(axis)).find((axis) => axis !== changed.select.value);
      }
      layOut(sweep, axes, Number(down.select.value), Number(across.select.value));
    };
    down.select.addEventListener('change', change(down, across));
    across.select.addEventListener('change', change(across, down));
    controls.append(down.whole, across.whole);
  }
  controls.hidden = false;
}

function offerCopies() {
  const text = () => byId('json').textContent;
  const told = byId('copied');
  byId('copy').addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text());
      told.textContent = 'Copied.';
    } catch {
      byId('json').closest('details').open = true;
      getSelection().selectAllChildren(byId('json'));
      told.textContent = document.execCommand('copy') ? 'Copied.' : 'Selected: copy it with the keyboard.';
    }
  });
  byId('download').addEventListener('click', () => {
    const url = URL.createObjectURL(new Blob([text()], { type: 'application/json' }));
    made('a', { href: url, download: 'rehearsal.json' }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  });
  byId('copy').parentElement.hidden = false;
}

followTheme();
document.querySelectorAll('[data-points]').forEach(walkAlong);
document.querySelectorAll('[data-columns]').forEach(walkOver);
document.querySelectorAll('[data-sweep]').forEach(chooseSweep);
offerCopies();
`;
