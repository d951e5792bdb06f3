// Elements are made here and nowhere by markup: names from the report are only ever text.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(key, value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** A floorplan that was drawn ahead: [tag, attributes, children]. */
const drawn = ([tag, attributes, children]) =>
  svg(tag, attributes, children.map((child) => (typeof child === "string" ? child : drawn(child))));

/** A name that cannot turn the text around it: marked for isolation of writing direction. */
const named = (text) => el("bdi", {}, text);

/** A table with a caption; `head` are texts or elements, cells that are numbers stand right. */
function table(caption, head, rows, kind = "") {
  const cells = (row, tag) => row.map((entry, n) => {
    const isNumber = numeric.has(head[n]);
    return el(tag, { class: isNumber && "num", scope: tag === "th" && "col" }, entry);
  });
  const numeric = new Set(head.filter((_, n) => rows.length && rows.every((row) => isNumeric(row[n]))));
  return el("div", { class: `table-box ${kind}`, tabindex: "0", role: "region", "aria-label": caption },
    el("table", {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, cells(head, "th"))),
      el("tbody", {}, rows.map((row) => el("tr", {}, cells(row, "td"))))));
}

const isNumeric = (entry) => typeof entry === "number" || /^[<\d-][<\d./% ,-]*$/.test(entry ?? "-");

const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

const percent = (share) => (share > 0 && share < 0.001 ? "<0.1 %" : `${(100 * share).toFixed(1)} %`);

/** Whole percents, rounded down, so that only what is full says 100. */
function shareText(used, offered) {
  if (!offered) return "-";
  const whole = Math.floor((100 * used) / offered);
  return used && !whole ? "<1 %" : `${whole} %`;
}

const usedOf = (pair) => (pair[1] ? `${pair[0]}/${pair[1]}` : "-");

const shape = (values) => values.join("x");
