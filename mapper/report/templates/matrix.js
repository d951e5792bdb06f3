// The matrix: only what is near the window exists as elements, so 10,000 cells cost no more than 300.

const SIZES = {
  wide: { row: 42, column: 136, head: 58 },
  compact: { row: 26, column: 54, head: 132 },
};
/** Names of networks leave room for a variant beside them. */
const SIDE = { narrow: 128, wide: 220 };
const NARROW = matchMedia("(max-width: 640px)");
const SPARE = 4;

const grid = {
  box: null, floor: null, head: null, body: null, rows: new Map(), active: [0, 0], window: "",
  get size() {
    return { ...(view.isCompact ? SIZES.compact : SIZES.wide), side: NARROW.matches ? SIDE.narrow : SIDE.wide };
  },
};

function buildGrid() {
  grid.head = el("div", { class: "head", role: "row", "aria-rowindex": "1" });
  grid.body = el("div", { class: "body", role: "rowgroup" });
  grid.floor = el("div", { class: "floor", role: "presentation" },
    el("div", { role: "rowgroup", class: "head-group" }, grid.head), grid.body);
  grid.box = el("div", {
    class: "matrix", role: "grid", "aria-label": "networks against variants", "aria-readonly": "true",
    scroll: drawWindow, keydown: moveInGrid, focusin: noteActive,
  }, grid.floor);
  new ResizeObserver(drawWindow).observe(grid.box);
  NARROW.addEventListener("change", resetGrid);
  view.listeners.push(resetGrid);
  return grid.box;
}

/** Everything anew: after sorting, filtering, or another density. */
function resetGrid() {
  const { row, column, head, side } = grid.size;
  grid.box.style.setProperty("--side", `${side}px`);
  grid.box.style.setProperty("--head", `${head}px`);
  const focused = grid.box.contains(document.activeElement) && document.activeElement.dataset.key;
  grid.box.classList.toggle("is-compact", view.isCompact);
  grid.box.setAttribute("aria-rowcount", view.rows.length + 1);
  grid.box.setAttribute("aria-colcount", view.columns.length + 1);
  grid.floor.style.width = `${side + view.columns.length * column}px`;
  grid.floor.style.height = `${head + view.rows.length * row}px`;
  grid.head.style.height = `${head}px`;
  grid.box.style.maxHeight = `min(76vh, ${head + view.rows.length * row + 20}px)`;
  grid.rows.clear();
  grid.head.replaceChildren();
  grid.body.replaceChildren();
  grid.window = "";
  grid.active = [Math.min(grid.active[0], view.rows.length - 1), Math.min(grid.active[1], view.columns.length - 1)];
  drawWindow();
  if (focused) grid.box.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
}

/** The indexes to draw along an axis; the active one stays, so that it keeps the focus. */
function near(offset, extent, step, length, active) {
  const first = Math.max(0, Math.floor(offset / step) - SPARE);
  const last = Math.min(length - 1, Math.ceil((offset + extent) / step) + SPARE);
  const shown = range(Math.max(0, last - first + 1)).map((n) => n + first);
  return shown.includes(active) || active < 0 ? shown : [...shown, active].sort((a, b) => a - b);
}

function drawWindow() {
  const { row, column, head, side } = grid.size, { box } = grid;
  const rows = near(box.scrollTop, box.clientHeight - head, row, view.rows.length, grid.active[0]);
  const columns = near(box.scrollLeft, box.clientWidth - side, column, view.columns.length, grid.active[1]);
  const sign = `${rows} | ${columns}`;
  if (sign === grid.window) return;
  grid.window = sign;
  keep(grid.head, ["corner", ...columns], (c) => (c === "corner" ? cornerCell() : columnHead(c)));
  keep(grid.body, rows, rowElement);
  for (const r of rows) keep(grid.rows.get(r), ["side", ...columns], (c) => (c === "side" ? rowHead(r) : cellElement(r, c)));
}

/** Bring the children of a node to these keys, in this order; what is there already stays the same element. */
function keep(parent, keys, make) {
  const wanted = new Set(keys.map(String));
  for (const child of [...parent.children]) if (!wanted.has(child.dataset.at)) child.remove();
  const present = new Map([...parent.children].map((child) => [child.dataset.at, child]));
  let before = parent.firstChild;
  for (const key of keys) {
    const child = present.get(String(key));
    if (child === before && child) before = child.nextSibling;
    else parent.insertBefore(child ?? make(key), before);
  }
}

const cornerCell = () => el("div", { class: "corner", role: "columnheader", "data-at": "corner", "aria-colindex": "1" }, "network \\ variant");

function columnHead(c) {
  const at = view.columns[c], variant = report.variants[at], { column, side } = grid.size;
  const button = el("button", {
    type: "button", tabindex: tabIndex(-1, c), "data-key": `column ${at}`,
    title: `${variant.name}: sort networks by this variant`,
    click: () => { setView({ rowSort: nextSort(view.rowSort, at) }); },
  }, el("bdi", { class: "label" }, variant.name),
  el("span", { class: "sub" }, `${count(variant.cores.length, "core")} `, el("i", {}, sortSign(view.rowSort, at))));
  const head = el("div", {
    class: "column-head", role: "columnheader", "data-at": c, "aria-colindex": c + 2,
    "aria-sort": ariaSort(view.rowSort, at),
  }, button);
  head.style.left = `${side + c * column}px`;
  head.style.width = `${column}px`;
  return head;
}

function rowElement(r) {
  const line = el("div", { class: "row", role: "row", "data-at": r, "aria-rowindex": r + 2 });
  line.style.top = `${r * grid.size.row}px`;
  line.style.height = `${grid.size.row}px`;
  grid.rows.set(r, line);
  return line;
}

function rowHead(r) {
  const at = view.rows[r], network = report.networks[at];
  return el("div", { class: "row-head", role: "rowheader", "data-at": "side", "aria-colindex": "1" },
    el("button", {
      type: "button", tabindex: tabIndex(r, -1), "data-key": `row ${at}`,
      title: `${network.name}: sort variants by this network`,
      click: () => { setView({ columnSort: nextSort(view.columnSort, at) }); },
    }, el("bdi", { class: "label" }, network.name),
    el("span", { class: "sub" }, `${count(network.layers, "layer")}${byShapes(network)} `,
      el("i", {}, { "▼": "◀", "▲": "▶", "": "" }[sortSign(view.columnSort, at)]))));
}

function cellElement(r, c) {
  const network = view.rows[r], variant = view.columns[c], cell = cellAt(network, variant);
  const { column, side } = grid.size;
  const place = { tabindex: tabIndex(r, c), "data-key": `${network} ${variant}` };
  const inside = isShown(network, variant)
    ? el("button", {
      type: "button", class: look(cell), ...place,
      "aria-label": cellSentence(network, variant), title: cellSentence(network, variant),
      click: () => openCell(network, variant),
    }, cellContent(cell))
    : el("span", { class: "filtered", ...place });
  const holder = el("div", { class: "cell", role: "gridcell", "data-at": c, "aria-colindex": c + 2 }, inside);
  holder.style.left = `${side + c * column}px`;
  holder.style.width = `${column}px`;
  return holder;
}

function cellContent(cell) {
  const { symbol } = VERDICTS[cell?.verdict ?? "pending"], [word, more] = cellLines(cell);
  if (!view.isCompact) {
    return [el("span", { class: "word" }, el("b", {}, symbol), ` ${word}`), el("span", { class: "sub" }, more)];
  }
  const free = cell?.margin ? ` ${Math.floor(100 * cell.margin.free_share)} %` : "";
  return [el("span", { class: "word" }, el("b", {}, symbol), free)];
}

/** One place of the grid is in the order of tabs: the active one. Headers stand at row or column -1. */
const tabIndex = (r, c) => (r === grid.active[0] && c === grid.active[1] ? "0" : "-1");

function placeOf(element) {
  const holder = element.closest(".cell, .column-head, .row-head");
  if (!holder) return null;
  if (holder.matches(".column-head")) return [-1, Number(holder.dataset.at)];
  const r = Number(holder.parentElement.dataset.at);
  return holder.matches(".row-head") ? [r, -1] : [r, Number(holder.dataset.at)];
}

function noteActive(event) {
  const place = placeOf(event.target);
  if (!place) return;
  for (const other of grid.box.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
  event.target.tabIndex = 0;
  grid.active = place;
}

const STEPS = {
  ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1],
  PageUp: [-10, 0], PageDown: [10, 0], Home: [0, -Infinity], End: [0, Infinity],
};

function moveInGrid(event) {
  const step = STEPS[event.key], place = placeOf(event.target);
  if (!step || !place) return;
  event.preventDefault();
  // Single steps reach the headers, leaps stop before them.
  const [r, c] = [view.rows, view.columns].map((list, axis) => {
    const least = step[axis] === -1 || place[axis] === -1 ? -1 : 0;
    return Math.max(least, Math.min(list.length - 1, place[axis] + step[axis]));
  });
  if (r >= 0 || c >= 0) focusPlace(r, c);
}

/** The least scrolling after which a stretch lies within the extent that is seen. */
const clear = (offset, start, length, extent) => Math.min(start, Math.max(offset, start + length - extent));

/** Scroll a place clear of the headers, draw it, focus it. */
function focusPlace(r, c) {
  const { row, column, head, side } = grid.size, { box } = grid;
  grid.active = [r, c];
  const top = r * row, left = c * column;
  const height = box.clientHeight - head, width = box.clientWidth - side;
  // Headers stay in sight: across their own axis nothing moves.
  if (r >= 0) box.scrollTop = clear(box.scrollTop, top, row, height);
  if (c >= 0) box.scrollLeft = clear(box.scrollLeft, left, column, width);
  drawWindow();
  const line = r < 0 ? grid.head : grid.rows.get(r);
  line?.querySelector(c < 0 ? ".row-head > *" : `:scope > [data-at="${c}"] > *`)?.focus({ preventScroll: true });
}
