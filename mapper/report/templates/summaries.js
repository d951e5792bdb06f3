// Variants over all networks, networks over all variants; a row opens into its particulars.

const COUNTED = KINDS.filter((kind) => kind !== "pending");

/** A row whose first cell is a button that shows or hides a second row below it; cells know their head. */
function openingRows(name, cells, heads, makeMore) {
  const more = el("tr", { class: "more", hidden: true }, el("td", { colspan: heads.length }));
  const button = el("button", {
    type: "button", class: "opener", "aria-expanded": "false",
    click: () => {
      more.hidden = !more.hidden;
      button.setAttribute("aria-expanded", String(!more.hidden));
      if (!more.firstChild.firstChild) more.firstChild.append(...makeMore());
    },
  }, named(name));
  for (const [n, cell] of cells.entries()) cell.dataset.head = heads[n + 1][0];
  return [el("tr", {}, el("th", { scope: "row" }, button), cells), more];
}

const number = (value) => el("td", { class: value === 0 ? "num zero" : "num" }, value);
const headRow = (names) => el("tr", {}, names.map(([name, kind]) => el("th", { scope: "col", class: kind }, name)));

const verdictHeads = () => COUNTED.map((kind) => [`${VERDICTS[kind].symbol} ${VERDICTS[kind].word}`, "num"]);

function summaryTable(caption, names, rows) {
  return el("div", { class: "table-box wide", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption), el("thead", {}, headRow(names)), el("tbody", {}, rows)));
}

function variantSummaries() {
  const names = [["variant"], ["cores", "num"], ["memory bits", "num"], ...verdictHeads(),
    ["bits used", "num"], ["bottlenecks, how often"], ["never used"]];
  const rows = report.variant_summaries.flatMap((summary) => {
    const variant = report.variants[summary.variant];
    return openingRows(variant.name, [
      number(variant.cores.length), number(variant.capacity_bits), ...COUNTED.map((kind) => number(summary[kind])),
      number(summary.used_share === null ? "-" : percent(summary.used_share)),
      el("td", {}, bottlenecks(summary)), el("td", {}, neverUsed(summary)),
    ], names, () => variantMore(variant, summary));
  });
  return summaryTable("variants over all networks", names, rows);
}

function bottlenecks(summary) {
  const told = summary.memories.filter((use) => use.bottleneck).sort((a, b) => b.bottleneck - a.bottleneck)
    .slice(0, 4).map((use) => `${use.resource.replace("_", "-")} of core ${use.core}: ${use.bottleneck}`);
  if (summary.cores_short) told.unshift(`number of cores: ${summary.cores_short}`);
  return told.join("; ") || "-";
}

function neverUsed(summary) {
  return summary.unused_cores.length ? `${summary.unused_cores.length > 1 ? "cores" : "core"} ${summary.unused_cores.join(", ")}` : "-";
}

function variantMore(variant, summary) {
  const rows = summary.memories.map((use) => [use.core, RESOURCES[use.resource], use.most_used, use.offered,
    shareText(use.most_used, use.offered), percent(use.mean_share), use.bottleneck]);
  const head = ["core", "resource", "most used", "offered", "most", "mean", "bottleneck"];
  return [...variantFacts(variant), table(`${variant.name}: every memory over the networks placed`, head, rows)];
}

function networkSummaries() {
  const names = [["network"], ["layers", "num"], ...verdictHeads(), ["smallest change that makes it fit"]];
  const rows = report.network_summaries.flatMap((summary) => {
    const network = report.networks[summary.network];
    return openingRows(network.name, [number(network.layers), ...COUNTED.map((kind) => number(summary[kind])),
      el("td", {}, network.error ?? smallest(summary.repair)),
    ], names, () => networkMore(network, summary));
  });
  return summaryTable("networks over all variants", names, rows);
}

const smallest = (repair) => (repair ? [named(report.variants[repair.variant].name), `: ${repair.repair.sentence}`] : "-");

function networkMore(network, summary) {
  const rows = summary.tightest.map((resource, n) =>
    [named(report.variants[n].name), VERDICTS[verdictAt(summary.network, n)].word, resource ?? "-"]);
  return [el("p", { class: "note" }, "source: ", named(network.source)),
    summary.repair && el("ol", {}, repairItem(summary.repair.repair)),
    table(`${network.name}: tightest resource`, ["variant", "verdict", "tightest"], rows)].filter(Boolean);
}
