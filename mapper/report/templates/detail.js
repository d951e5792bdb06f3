// One cell, opened: placement and use, or what stands in the way and what would mend it.

const detail = { box: null, body: null, place: null };

function buildDetail() {
  detail.body = el("div", { class: "detail-body" });
  const move = (sign, axis, rows, columns) => el("button", {
    type: "button", "aria-label": `${rows + columns < 0 ? "previous" : "next"} ${axis}`, click: () => stepCell(rows, columns),
  }, `${sign} `, el("span", { class: "long" }, axis));
  detail.box = el("dialog", { "aria-labelledby": "detail-title", close: leaveCell, click: closeOnGround },
    el("div", { class: "detail-bar" },
      move("◀", "variant", 0, -1), move("▶", "variant", 0, 1), move("▲", "network", -1, 0), move("▼", "network", 1, 0),
      el("button", { type: "button", class: "close", click: () => detail.box.close() },
        "Close", el("span", { class: "long" }, " (Esc)"))),
    detail.body);
  return detail.box;
}

function openCell(network, variant) {
  detail.place = [network, variant];
  detail.body.replaceChildren(...cellDetail(network, variant));
  if (!detail.box.open) detail.box.showModal();
  detail.box.scrollTop = 0;
  const address = `#cell-${network}-${variant}`;
  if (location.hash !== address) history.replaceState(null, "", address);
}

/** The neighbour in the order that is shown. */
function stepCell(rows, columns) {
  const [network, variant] = detail.place;
  const next = (list, at, step) => list[Math.max(0, Math.min(list.length - 1, list.indexOf(at) + step))] ?? at;
  openCell(next(view.rows, network, rows), next(view.columns, variant, columns));
}

function leaveCell() {
  history.replaceState(null, "", location.pathname + location.search);
  const [network, variant] = detail.place, r = view.rows.indexOf(network), c = view.columns.indexOf(variant);
  if (r >= 0 && c >= 0) focusPlace(r, c);
}

function closeOnGround(event) {
  if (event.target === detail.box) detail.box.close();
}

const section = (title, ...content) => el("section", {}, el("h3", {}, title), content);
const listOf = (sentences) => el("ul", {}, sentences.map((sentence) => el("li", {}, sentence)));

function cellDetail(network, variant) {
  const cell = cellAt(network, variant), verdict = VERDICTS[cell?.verdict ?? "pending"];
  const title = el("h2", { id: "detail-title" },
    named(report.networks[network].name), " on ", named(report.variants[variant].name));
  const facts = [(divisions(cell) || verdict.about) + byShapes(report.networks[network])];
  if (cell?.cores_used) facts.push(`${count(cell.cores_used, "core")} used`);
  const badge = el("p", { class: "badge" },
    el("span", { class: `swatch ${look(cell)}` }, verdict.symbol), ` ${verdict.word}`,
    el("span", { class: "sub" }, ` (${facts.join("; ")}${cell?.nature ? `; ${cell.nature}` : ""})`));
  if (!cell) return [title, badge];
  return [title, badge,
    cell.sentence && el("p", { class: "sentence" }, cell.sentence),
    cell.margin && el("p", {}, "Tightest: ", named(marginText(cell.margin)), "."),
    ...variantFacts(report.variants[variant]),
    ...(cell.placement ? placementDetail(cell, variant) : shortPlacement(cell, variant)),
    trafficOf(report.networks[network]),
    ...(cell.report ? reportDetail(cell.report, cell) : shortReport(cell)),
  ].filter(Boolean);
}

/** "2 pieces, 1 relay", where the placement is there to be counted. */
function divisions(cell) {
  const roles = (cell?.placement?.cores ?? []).map((use) => use.role);
  const counted = [["piece", "piece"], ["copy", "copied core"], ["relay", "relay"]].map(([role, word]) =>
    [roles.filter((each) => each === role).length, word]);
  return counted.filter(([times]) => times).map(([times, word]) => count(times, word)).join(", ");
}

function variantFacts(variant) {
  if (!variant.overrides.length) return [];
  const options = variant.overrides.map((override) => `--set "${override}"`).join(" ");
  return [el("p", { class: "note" }, `Variant of ${variant.base}: `, el("code", {}, options))];
}

function placementDetail(cell, variant) {
  const record = cell.placement, { objectives } = record.solution;
  const drawing = el("div", { class: "drawing", tabindex: "0", role: "region", "aria-label": "floorplan" });
  const told = el("p", { class: "told", role: "status" });
  floorplan(cell.network, variant).then((picture) => {
    drawing.append(picture);
    follow(picture, told);
  }, () => drawing.append("This browser cannot decompress the floorplan."));
  return [
    section("Floorplan", el("p", { class: "note hint" }, FOLLOW_HINT), drawing, told),
    el("div", { class: "beside" },
      section("Cores", useTable(record, report.variants[variant])),
      section("Destinations", routeTable(record))),
    section("Layers", layerTable(record)),
    section("Objective", table("each stage of the objective", ["stage", "value", "bound", "proof"],
      objectives.map((stage) => [stage.name.replaceAll("_", " "), stage.value, stage.bound,
        stage.value === stage.bound ? "proven" : "not proven"]))),
    record.notes.length > 0 && section("Notes", listOf(record.notes)),
    assumed(record.assumed_facts),
  ].filter(Boolean);
}

const withShare = (pair) => (pair[1] ? `${usedOf(pair)}, ${shareText(...pair)}` : "-");

function useTable(record, variant) {
  const head = ["core", "holds", "kernel words", "neuron words", "bias words", "destinations"];
  const { routes, monitors } = record.solution;
  const rows = record.cores.map((use) => {
    const sent = routes.filter((route) => route.source === use.core).length;
    const fanOut = variant.cores.find((core) => core.core === use.core)?.fan_out;
    const marks = [use.role === "piece" && "piece", monitors.some((each) => each.source === use.core) && "monitor"]
      .filter(Boolean).join(", ");
    return [use.core, use.label ? [named(use.label), marks && ` (${marks})`] : "empty",
      withShare(use.kernel_words), withShare(use.neuron_words), withShare(use.bias_words),
      fanOut === undefined ? String(sent) : `${sent}/${fanOut}`];
  });
  return table("words used of words offered", head, rows);
}

function routeTable(record) {
  const { routes, host_entries } = record.solution;
  const holder = new Map(record.cores.map((use) => [use.core, use.label]));
  const end = (core) => (typeof core === "number" ? named(`${core}: ${holder.get(core)}`) : core.replace("dvs", "sensor"));
  const fromSensor = (route) => Number(route.source !== "dvs");
  const entries = host_entries.map((entry) => [named(`host: ${entry.input}`), "-", end(entry.core), "-", entry.feature_shift]);
  const sent = [...routes].sort((a, b) => fromSensor(a) - fromSensor(b)).map((route) =>
    [end(route.source), route.slot, end(route.target), route.pooling, route.feature_shift]);
  return table("what sends where", ["from", "slot", "to", "pool", "feature shift"], [...entries, ...sent]);
}

function layerTable(record) {
  const several = record.networks.length > 1;
  const head = ["layer", "cores", "input", "output", "kernel", "stride", "padding", "kernel words", "neuron words", "bias words"];
  const layers = [...record.layers].sort((a, b) => a.network - b.network || a.index - b.index);
  const rows = layers.map((layer) => [
    named(several ? `${record.networks[layer.network]}:${layer.name}` : layer.name), layer.cores.join(", "),
    shape(layer.input_shape), shape(layer.output_shape), shape(layer.kernel), shape(layer.stride), shape(layer.padding),
    layer.kernel_words, layer.neuron_words, layer.bias_words]);
  return table("layers as a whole; shapes are features x height x width", head, rows);
}

const gapHead = ["rule", "layers", "asked", "there is", "missing", "unit"];
const gapRow = (gap) => [`${gap.code} ${gap.rule.replaceAll("_", " ")}`, named(gap.layers.join(", ")),
  gap.demand, gap.bound, gap.gap ?? "-", gap.unit];

const repairsOf = (repairs) => repairs.length > 0
  && section("Repairs, each solved and checked", el("ol", {}, repairs.map(repairItem)));

function reportDetail(found, cell) {
  const reasons = [...found.unmet, ...found.certificate].map((entry) => entry.sentence);
  const told = reasons.length === 0 && found.limit ? [`Undecided: ${found.limit} was reached.`] : reasons;
  return [
    told.length > 0 && section("In the way", listOf(told)),
    found.unmet.length > 0 && table("what no core meets", gapHead, found.unmet.map(gapRow)),
    found.conflict && section(found.conflict.irreducible ? "Smallest conflict" : "A conflict, perhaps not the smallest",
      el("p", {}, found.conflict.sentence), listOf(found.conflict.requirements.map((entry) => entry.sentence))),
    found.divided && section("Cutting, copying, relaying", el("p", {}, found.divided.sentence)),
    found.correction && section("Fewest to give up", el("p", {}, found.correction.sentence)),
    repairsOf(found.repairs.length ? found.repairs : cell.repairs),
    found.repairs_missing.length > 0 && el("p", { class: "note" }, "Tried, and none works on its own: "
      + `${found.repairs_missing.map((kind) => kind.replaceAll("_", " ")).join(", ")}.`),
    found.repairs_note && el("p", { class: "note" }, `Repairs: ${found.repairs_note}.`),
    ...found.cut_short.map((leftUndone) => el("p", { class: "note" }, `Not done: ${leftUndone}.`)),
    assumed(found.assumed_facts),
  ].filter(Boolean);
}

function repairItem(repair) {
  const options = repair.overrides.map((override) => `--set "${override}"`).join(" ");
  const sizes = repair.sizes.map((size) => {
    const value = (size_) => (Array.isArray(size_) ? size_.join("x") : size_);
    return `${size.name}: ${size.field.replaceAll("_", " ")} ${value(size.before)} → ${value(size.after)}`;
  });
  return el("li", {}, el("span", {}, repair.sentence),
    options && el("pre", { tabindex: "0" }, el("code", {}, options)),
    sizes.length > 0 && listOf(sizes));
}

const KEPT_FOR = { chips: "the named chips", none: "no variant", all: "all variants" };

/** What a cell without its placement still tells: use by core, without destinations' targets. */
function shortPlacement(cell, variant) {
  if (!cell.used.length) return [];
  const layers = report.networks[cell.network].layer_rows;
  const rows = cell.used.map(([id, ...taken]) => {
    const core = report.variants[variant].cores.find((each) => each.core === id);
    const held = cell.layer_cores.flatMap((cores, n) => (cores.includes(id) ? [layers[n].name] : []));
    const offered = [core.kernel_words, core.neuron_words, core.bias_words, core.fan_out];
    return [id, named(held.join(", ") || "relay"), ...taken.map((used, k) => withShare([used, offered[k]]))];
  });
  const head = ["core", "holds", "kernel words", "neuron words", "bias words", "destinations"];
  const text = `Floorplan and destinations are not part of this report: it keeps them for ${KEPT_FOR[report.settings.details]}.`;
  return [section("Cores", table("words used of words offered", head, rows)), el("p", { class: "note" }, text)];
}

/** Spikes that reach every layer, and what they cost, where traffic was given. */
function trafficOf(network) {
  const rows = network.layer_rows.filter((layer) => layer.spikes_per_second !== null)
    .map((layer) => [named(layer.name), layer.spikes_per_second, layer.synops_per_second]);
  return rows.length > 0 &&
    section("Traffic", table("at the rates that were given", ["layer", "spikes per second in", "SynOps per second"], rows));
}

/** What a cell without a full report still tells. */
function shortReport(cell) {
  return [
    cell.gaps.length > 0 && section("In the way", table("what no core meets", gapHead, cell.gaps.map(gapRow))),
    cell.conflict && section("Conflict", el("p", {}, cell.conflict)),
    repairsOf(cell.repairs),
  ].filter(Boolean);
}

function assumed(facts) {
  return facts.length > 0 && section("Rests on assumed facts of the chip", listOf(facts.map((fact) => fact.statement)));
}
