// Filters, sorting, density; the legend is the filter by verdict.

function setView(changes) {
  Object.assign(view, changes);
  refresh();
}

function choice(text, options, current, choose) {
  const select = el("select", { change: () => choose(select.value) },
    options.map(([value, told]) => el("option", { value, selected: value === current }, told)));
  return [select, el("label", {}, `${text} `, select)];
}

function search(text, choose) {
  return el("label", {}, `${text} `, el("input", { type: "search", input: (event) => choose(event.target.value) }));
}

function tick(text, isOn, choose) {
  return el("label", { class: "tick" },
    el("input", { type: "checkbox", checked: isOn, change: (event) => choose(event.target.checked) }), ` ${text}`);
}

function buildControls() {
  const rowOptions = [["given", "as given"], ["name", "by name"], ["most", "most that fit"], ["tight", "worst cell first"]];
  const [rowSelect, rowLabel] = choice("order of networks", rowOptions, view.rowSort, (rowSort) => setView({ rowSort }));
  const [columnSelect, columnLabel] = choice(
    "of variants", rowOptions, view.columnSort, (columnSort) => setView({ columnSort }));
  const across = el("option", { value: "by", hidden: true }, "by a cell's row or column");
  const status = el("p", { role: "status", class: "status" });
  rowSelect.append(across);
  columnSelect.append(across.cloneNode(true));
  view.listeners.push(() => {
    rowSelect.value = view.rowSort.startsWith("by ") ? "by" : view.rowSort;
    columnSelect.value = view.columnSort.startsWith("by ") ? "by" : view.columnSort;
    status.textContent = `${view.rows.length} of ${count(report.networks.length, "network")}, `
      + `${view.columns.length} of ${count(report.variants.length, "variant")} shown`;
  });
  return el("div", { class: "controls" },
    el("div", { class: "line" },
      search("network", (networkText) => setView({ networkText })),
      search("variant", (variantText) => setView({ variantText })),
      rowLabel, columnLabel,
      tick("named chips only", view.chipsOnly, (chipsOnly) => setView({ chipsOnly })),
      tick("compact", view.isCompact, (isCompact) => setView({ isCompact }))),
    buildLegend(), status);
}

/** How many cells have each verdict. */
function totals() {
  const numbers = Object.fromEntries(KINDS.map((kind) => [kind, 0]));
  for (const cell of cellByPlace) numbers[cell?.verdict ?? "pending"] += 1;
  return numbers;
}

function buildLegend() {
  const numbers = totals();
  const sample = (kind) => (PLACED.has(kind) ? `v-${kind} t3` : `v-${kind}`);
  const boxes = KINDS.filter((kind) => numbers[kind]).map((kind) => {
    const { symbol, word, about } = VERDICTS[kind];
    return el("label", { class: "verdict", title: about },
      el("input", {
        type: "checkbox", checked: true, name: kind,
        change: (event) => {
          view.verdicts[event.target.checked ? "add" : "delete"](kind);
          refresh();
        },
      }),
      el("span", { class: `swatch ${sample(kind)}` }, symbol), ` ${word}`, el("span", { class: "sub" }, ` ${about}`),
      el("b", { class: "number" }, String(numbers[kind])));
  });
  const steps = range(TONES.length + 1).map((n) => {
    const text = n < TONES.length ? `≤ ${Math.round(100 * TONES[n])} %` : `> ${Math.round(100 * TONES[n - 1])} %`;
    return el("span", { class: "step" },
      el("span", { class: `swatch v-plain t${n}` }, VERDICTS.plain.symbol),
      el("span", { class: `swatch v-divided t${n}` }, VERDICTS.divided.symbol), ` ${text}`);
  });
  return el("div", { class: "line legend" },
    el("fieldset", {}, el("legend", {}, "show"), boxes),
    el("p", { class: "heat" }, "margin, the free share of the tightest resource: ", steps));
}
