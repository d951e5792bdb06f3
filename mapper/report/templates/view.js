// What of the matrix is shown, and in which order.

const view = {
  networkText: "", variantText: "", chipsOnly: false, verdicts: new Set(KINDS),
  rowSort: "given", columnSort: "given", rows: [], columns: [],
  isCompact: report.variants.length > 24, listeners: [],
};

const natural = new Intl.Collator(undefined, { numeric: true }).compare;
const range = (length) => Array.from({ length }, (_, n) => n);
const isShown = (network, variant) => view.verdicts.has(verdictAt(network, variant));
const holds = (text, ...names) => names.some((name) => name.toLowerCase().includes(text.toLowerCase()));

/** Order along one axis; `sort` is "given", "name", "most", "tight", or "by K up|down" for an index K across. */
function order(indexes, across, sort, nameOf, worthOf) {
  if (sort === "given") return indexes;
  if (sort === "name") return indexes.sort((a, b) => natural(nameOf(a), nameOf(b)) || a - b);
  const [kind, at, direction] = sort.split(" ");
  const value = new Map(indexes.map((n) => {
    if (kind === "by") return [n, worthOf(n, Number(at)) * (direction === "up" ? 1 : -1)];
    const worths = across.map((other) => worthOf(n, other));
    const fitting = worths.filter((each) => each >= LEAST_PLACED).length;
    return [n, kind === "most" ? -fitting : Math.min(Infinity, ...worths)];
  }));
  return indexes.sort((a, b) => value.get(a) - value.get(b) || a - b);
}

function refresh() {
  const { networks, variants } = report;
  const rows = range(networks.length)
    .filter((n) => holds(view.networkText, networks[n].name, networks[n].source));
  const columns = range(variants.length).filter((n) =>
    holds(view.variantText, variants[n].name, variants[n].base) && (!view.chipsOnly || variants[n].is_chip));
  const everything = view.verdicts.size === KINDS.length;
  const keptRows = everything ? rows : rows.filter((r) => columns.some((c) => isShown(r, c)));
  const keptColumns = everything ? columns : columns.filter((c) => keptRows.some((r) => isShown(r, c)));
  view.rows = order(keptRows, keptColumns, view.rowSort, (n) => networks[n].name, worth);
  view.columns = order(
    keptColumns, keptRows, view.columnSort, (n) => variants[n].name, (variant, network) => worth(network, variant));
  for (const listener of view.listeners) listener();
}

/** Best first, worst first, as given: what a click on a header goes through. */
function nextSort(sort, at) {
  if (sort === `by ${at} down`) return `by ${at} up`;
  return sort === `by ${at} up` ? "given" : `by ${at} down`;
}

function ariaSort(sort, at) {
  return { [`by ${at} down`]: "descending", [`by ${at} up`]: "ascending" }[sort] ?? "none";
}

const sortSign = (sort, at) => ({ descending: "▼", ascending: "▲", none: "" })[ariaSort(sort, at)];
