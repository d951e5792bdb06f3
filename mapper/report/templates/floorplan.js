// The drawing of mapper/report/floorplan.py and wiring.py, element by element; a test compares the two.

const TILE_W = 176, TILE_H = 106, BAR_LEFT = 24, BAR_LENGTH = 104, BAR_H = 10, BUS_H = 26, EDGE = 12;
const TRACK_H = 14, TRACK_W = 8, ARROW = 8, LETTER_W = 6, NAME_LETTERS = 25, TARGET_LETTERS = 29;
const MEMORIES = [["K", "kernel", 8], ["N", "neuron", 16], ["B", "bias", 16]];

const plain = (text) => text.replace(/[\u0000-\u001f\u007f-\u009f]/g, "\ufffd");
const letters = (text) => [...text].length;
const short = (text, most) => (letters(text) <= most ? text : `${[...text].slice(0, most - 1).join("")}…`);

function coreLabel(record, use) {
  if (use.layer === null) return "";
  const name = record.networks.length > 1 ? `${record.networks[use.network]}:${use.layer}` : use.layer;
  if (use.role === "relay") {
    const pooling = record.relays.find((relay) => relay.core === use.core)?.pooling ?? 1;
    return `relay of ${name}${pooling > 1 ? ` /${pooling}` : ""}`;
  }
  const owner = record.layers.find((entry) => entry.network === use.network && entry.name === use.layer);
  const [start, stop] = use.features;
  const isWhole = start === 0 && stop === (owner ? owner.output_shape[0] : stop);
  return isWhole ? name : `${name}[${start}:${stop}]`;
}

function destination(pooling, shift) {
  return [pooling !== 1 && `/${pooling}`, shift !== 0 && `+${shift}`].filter(Boolean).join(" ");
}

function wiresOf(record) {
  const position = new Map(record.cores.map((use, n) => [use.core, n]));
  const wires = record.host_entries.map((entry) => ({
    source: null, target: position.get(entry.core),
    label: short(`${plain(entry.input)} ${destination(1, entry.feature_shift)}`.trim(), NAME_LETTERS),
  }));
  for (const route of record.routes) {
    const source = route.source === "dvs" ? null : position.get(route.source);
    const label = destination(route.pooling, route.feature_shift);
    const target = route.target === "readout" ? null : position.get(route.target);
    wires.push({ source, target, label: source === null ? `sensor ${label}`.trim() : label });
  }
  return wires;
}

/** The least number of tracks on which no two spans touch: by first end, into the first that is free. */
function tracksOf(spans) {
  const ends = [], tracks = new Map();
  const ordered = [...spans].sort((a, b) => a[1][0] - b[1][0] || a[1][1] - b[1][1] || a[0] - b[0]);
  for (const [n, [start, stop]] of ordered) {
    const found = ends.findIndex((end) => end < start);
    const track = found < 0 ? ends.length : found;
    ends[track] = stop;
    tracks.set(n, track);
  }
  return tracks;
}

function wayOf(plan, wire) {
  const out = wire.source === null ? 0 : Math.floor(wire.source / plan.columns) + 1;
  const into = wire.target === null ? plan.rows : Math.floor(wire.target / plan.columns);
  if (out === into) return { out, into, between: null };
  if (wire.target === null) return { out, into, between: ((wire.source ?? 0) % plan.columns) + 1 };
  const column = wire.target % plan.columns;
  const isLeft = wire.source === null || wire.source % plan.columns < column;
  return { out, into, between: isLeft ? column : column + 1 };
}

function placeColumns(plan) {
  plan.lane = new Map();
  plan.columnX = [];
  let x = EDGE;
  for (let channel = 0; channel <= plan.columns; channel += 1) {
    const here = plan.ways
      .map((way, n) => [n, [Math.min(way.out, way.into), Math.max(way.out, way.into)], way.between])
      .filter((entry) => entry[2] === channel);
    const tracks = tracksOf(here);
    for (const [n, track] of tracks) plan.lane.set(n, x + TRACK_W + track * TRACK_W);
    x += (1 + Math.max(-1, ...tracks.values())) * TRACK_W + 2 * TRACK_W;
    if (channel < plan.columns) {
      plan.columnX.push(x);
      x += TILE_W;
    }
  }
  plan.width = x + EDGE;
}

function portsOf(plan, mine, others, offset) {
  const wires = new Map(), ports = new Map();
  mine.forEach((core, n) => {
    if (core !== null) wires.set(core, [...(wires.get(core) ?? []), n]);
  });
  for (const [core, numbers] of wires) {
    const left = plan.columnX[core % plan.columns] + offset + 12;
    const step = Math.min(20, Math.floor((TILE_W / 2 - 24) / Math.max(numbers.length - 1, 1)));
    numbers.sort((a, b) => others[a] - others[b] || a - b).forEach((n, k) => ports.set(n, left + k * step));
  }
  return ports;
}

function runsOf(plan, n) {
  const wire = plan.wires[n], { out, into, between } = plan.ways[n];
  const enter = plan.enter.get(n), leave = plan.leave.get(n), lane = plan.lane.get(n);
  if (between === null) {
    const start = leave ?? enter ?? 0;
    return [{ wire: n, channel: out, start, stop: enter ?? start, label: wire.label }];
  }
  const runs = [];
  if (wire.source !== null) runs.push({ wire: n, channel: out, start: leave, stop: lane, label: wire.label });
  const label = wire.source === null ? wire.label : "";
  if (wire.target !== null) runs.push({ wire: n, channel: into, start: lane, stop: enter, label });
  return runs;
}

function spanOf(run) {
  const width = run.label ? letters(run.label) * LETTER_W + 8 : 0;
  const ends = [run.start, run.stop, run.stop >= run.start ? run.start + width : run.start - width];
  return [Math.min(...ends) - 5, Math.max(...ends) + 5];
}

function placeRows(plan) {
  plan.level = new Map();
  plan.rowY = [];
  let y = EDGE + BUS_H;
  for (let channel = 0; channel <= plan.rows; channel += 1) {
    const here = plan.runs.map((run, n) => [n, spanOf(run)]).filter(([n]) => plan.runs[n].channel === channel);
    const tracks = tracksOf(here);
    for (const [n, track] of tracks) plan.level.set(`${plan.runs[n].wire} ${channel}`, y + (track + 1) * TRACK_H);
    y += (1 + Math.max(-1, ...tracks.values())) * TRACK_H + 18;
    if (channel < plan.rows) {
      plan.rowY.push(y);
      y += TILE_H;
    }
  }
  plan.bottom = y;
  plan.hasReadout = plan.wires.some((wire) => wire.target === null);
  plan.height = y + (plan.hasReadout ? BUS_H : 0) + 2 * EDGE + 10;
}

function planOf(record) {
  const cores = record.cores.length;
  const columns = [[1, 1], [4, 2], [9, 3], [16, 4], [25, 5]].find(([limit]) => cores <= limit)?.[1] ?? 6;
  const plan = { columns, rows: Math.ceil(cores / columns), wires: wiresOf(record) };
  plan.ways = plan.wires.map((wire) => wayOf(plan, wire));
  placeColumns(plan);
  const sources = plan.wires.map((wire) => wire.source), targets = plan.wires.map((wire) => wire.target);
  plan.leave = portsOf(plan, sources, targets.map((end) => end ?? cores), TILE_W / 2);
  plan.enter = portsOf(plan, targets, sources.map((end) => end ?? -1), 0);
  plan.runs = plan.wires.flatMap((_, n) => runsOf(plan, n));
  placeRows(plan);
  return plan;
}

const corner = (plan, core) => [plan.columnX[core % plan.columns], plan.rowY[Math.floor(core / plan.columns)]];

const label = (kind, x, y, text, more = {}) => svg("text", { class: `mfp-${kind}`, x, y, ...more }, text);

function memoriesOf(use) {
  const words = [use.kernel_words, use.neuron_words, use.bias_words];
  return words.map(([used, offered], k) => [used, offered, offered * MEMORIES[k][2]]);
}

function targetsOf(record, use) {
  return record.routes.filter((route) => route.source === use.core)
    .map((route) => `${route.target} ${destination(route.pooling, route.feature_shift)}`.trim()).join(", ");
}

function marksOf(record, use) {
  const monitored = record.monitors.some((monitor) => monitor.core === use.core);
  return [use.role !== "layer" && use.role, monitored && "monitor"].filter(Boolean).join(", ");
}

function sentenceOf(record, use) {
  const marks = marksOf(record, use), targets = targetsOf(record, use);
  const words = memoriesOf(use)
    .map(([used, offered], k) => `${MEMORIES[k][1]} ${used} of ${offered} words`).join(", ");
  const told = `core ${use.core}: ${plain(coreLabel(record, use))}${marks ? ` (${marks})` : ""}; ${words}`;
  return `${told}${targets ? `; sends to ${targets}` : ""}.`;
}

function descriptionOf(record) {
  const inputs = record.host_entries.map((entry) => `${plain(entry.input)} enters at core ${entry.core}.`);
  const sensor = record.routes.filter((route) => route.source === "dvs")
    .map((route) => `The sensor feeds core ${route.target}.`);
  const cores = record.cores.filter((use) => use.layer !== null).map((use) => sentenceOf(record, use));
  return [...inputs, ...sensor, ...cores].join(" ");
}

function busOf(plan, y, text) {
  const width = plan.width - 2 * EDGE;
  return [
    svg("rect", { class: "mfp-bus", x: EDGE, y, width, height: BUS_H }),
    label("name", EDGE + 8, y + 17, short(text, Math.floor(width / LETTER_W) - 6)),
  ];
}

function busesOf(record, plan) {
  const names = record.host_entries.map((entry) => `host: ${plain(entry.input)}`);
  if (record.dvs_stage !== null) {
    const watched = record.monitors.some((monitor) => monitor.core === "dvs");
    names.push(`sensor, pooled ${record.dvs_stage.pooling.join("x")}${watched ? ", monitor" : ""}`);
  }
  const inputs = busOf(plan, EDGE, `inputs (${[...new Set(names)].join("; ")})`);
  return plan.hasReadout ? [...inputs, ...busOf(plan, plan.bottom, "readout")] : inputs;
}

function wireOf(plan, n) {
  const wire = plan.wires[n], { out, into, between } = plan.ways[n];
  const lane = plan.lane.get(n);
  const start = plan.leave.get(n) ?? lane ?? plan.enter.get(n) ?? 0;
  const stop = plan.enter.get(n) ?? lane ?? start;
  const top = wire.source === null ? EDGE + BUS_H : corner(plan, wire.source)[1] + TILE_H;
  const end = wire.target === null ? plan.bottom : corner(plan, wire.target)[1];
  let way = `M${start} ${top}`;
  if (between === null || wire.source !== null) way += `V${plan.level.get(`${n} ${out}`)}H${between === null ? stop : lane}`;
  if (between !== null && wire.target !== null) way += `V${plan.level.get(`${n} ${into}`)}H${stop}`;
  way += `V${end - ARROW}`;
  const labels = plan.runs.filter((run) => run.wire === n && run.label).map((run) => {
    const isForward = run.stop >= run.start;
    const x = isForward ? run.start + 4 : run.start - 4;
    const more = isForward ? {} : { "text-anchor": "end" };
    return label("label", x, plan.level.get(`${n} ${run.channel}`) - 3, run.label, more);
  });
  return svg("g", { class: "mfp-wire", "data-source": wire.source ?? "", "data-target": wire.target ?? "" },
    svg("path", { class: "mfp-line", d: way }),
    svg("path", { class: "mfp-head", d: `M${stop} ${end}l-4 -${ARROW}h8z` }),
    labels);
}

function tileOf(record, plan, n, scale) {
  const use = record.cores[n], [x, y] = corner(plan, n), right = x + TILE_W - 8;
  const targets = targetsOf(record, use), end = { "text-anchor": "end" };
  const bars = memoriesOf(use).flatMap(([used, offered, bits], k) => {
    const top = y + 42 + 15 * k, bar = { x: x + BAR_LEFT, y: top, height: BAR_H };
    const length = bits ? Math.max(Math.floor((BAR_LENGTH * bits) / scale), 1) : 0;
    const width = offered ? Math.ceil((length * used) / offered) : 0;
    return [
      label("unit", x + 8, top + 9, MEMORIES[k][0]),
      svg("rect", { class: "mfp-have", ...bar, width: length }),
      svg("rect", { class: `mfp-used mfp-${MEMORIES[k][1]}`, ...bar, width }),
      label("unit", right, top + 9, shareText(used, offered), end),
    ];
  });
  return svg("g", { class: `mfp-core mfp-${use.role}`, "data-core": n },
    svg("title", {}, sentenceOf(record, use)),
    svg("rect", { class: "mfp-box", x, y, width: TILE_W, height: TILE_H, rx: 3 }),
    label("id", x + 8, y + 17, `core ${use.core}`),
    label("mark", right, y + 17, marksOf(record, use), end),
    label("name", x + 8, y + 34, short(plain(coreLabel(record, use)), NAME_LETTERS)),
    bars,
    targets && label("to", x + 8, y + 99, short(`to ${targets}`, TARGET_LETTERS)));
}

/** The placement as an SVG element. */
function floorplan(record) {
  const plan = planOf(record);
  const scale = Math.max(0, ...record.cores.flatMap((use) => memoriesOf(use).map((memory) => memory[2])));
  const name = `Floorplan: ${plain(`${record.networks.join(", ")} on ${record.chip}`)}`;
  const legend = "K kernel, N neuron, B bias memory: length by bits, one scale for all; filled as far as used";
  const { width, height } = plan;
  return svg("svg", { class: "mfp", role: "img", "aria-label": name, width, height, viewBox: `0 0 ${width} ${height}` },
    svg("title", {}, name),
    svg("desc", {}, descriptionOf(record)),
    busesOf(record, plan),
    plan.wires.map((_, n) => wireOf(plan, n)),
    record.cores.map((_, n) => tileOf(record, plan, n, scale)),
    label("note", EDGE, height - EDGE, legend));
}
