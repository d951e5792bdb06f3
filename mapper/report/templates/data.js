// The report as it stands in the page. Nothing is shown that does not come from it.

const report = JSON.parse(document.getElementById("report").textContent);

const drawings = JSON.parse(document.getElementById("drawings").textContent);

/** The floorplan of a cell that keeps its placement. */
async function floorplan(network, variant) {
  const bytes = Uint8Array.from(atob(drawings[network]), (letter) => letter.charCodeAt(0));
  const text = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return drawn((await new Response(text).json())[variant]);
}

const VERDICTS = {
  plain: { symbol: "✓", word: "fits", about: "one whole layer per core" },
  divided: { symbol: "÷", word: "fits divided", about: "with pieces, copies, relays or rewrites" },
  infeasible: { symbol: "✕", word: "does not fit", about: "proven" },
  undecided: { symbol: "?", word: "undecided", about: "a limit came first" },
  unsupported: { symbol: "∅", word: "unsupported", about: "cannot be read or prepared" },
  error: { symbol: "!", word: "error", about: "the program failed" },
  pending: { symbol: "·", word: "not done", about: "the run was interrupted" },
};
const KINDS = Object.keys(VERDICTS);
const PLACED = new Set(["plain", "divided"]);
/** Bounds of the free share between the five tones of the heat map. */
const TONES = [0.02, 0.1, 0.3, 0.6];
const RESOURCES = {
  kernel: "kernel memory", neuron: "neuron memory", bias: "bias memory", cores: "cores", fan_out: "destinations",
};

const cellByPlace = new Array(report.networks.length * report.variants.length).fill(null);
for (const cell of report.cells) cellByPlace[cell.network * report.variants.length + cell.variant] = cell;

const cellAt = (network, variant) => cellByPlace[network * report.variants.length + variant];
const verdictAt = (network, variant) => cellAt(network, variant)?.verdict ?? "pending";

/** Whether a network's verdicts hold for its weights, or for its shapes alone. */
const byShapes = (network) => (network.has_weights || network.error !== null ? "" : ", by shapes");

/** For sorting: better cells are greater; the margin decides between placed ones. */
function worth(network, variant) {
  const cell = cellAt(network, variant);
  const rank = KINDS.length - KINDS.indexOf(cell?.verdict ?? "pending");
  return rank + (cell?.margin ? cell.margin.free_share / 2 : 0);
}

const LEAST_PLACED = KINDS.length - KINDS.indexOf("divided");

function tone(cell) {
  if (!cell || !PLACED.has(cell.verdict)) return "";
  const free = cell.margin ? cell.margin.free_share : 1;
  const found = TONES.findIndex((bound) => free <= bound);
  return ` t${found < 0 ? TONES.length : found}`;
}

const look = (cell) => `v-${cell?.verdict ?? "pending"}${tone(cell)}`;

/** The two lines of a cell. */
function cellLines(cell) {
  const verdict = VERDICTS[cell?.verdict ?? "pending"];
  if (!cell || !PLACED.has(cell.verdict)) return [verdict.word, cell?.nature ?? ""];
  const cores = cell.cores_used === null ? "" : `, ${count(cell.cores_used, "core")}`;
  const word = cell.verdict === "divided" ? "divided" : verdict.word;
  const margin = cell.margin ? `${cell.margin.resource.replace("_", "-")} ${percent(cell.margin.free_share)} free` : "";
  return [word + cores, margin];
}

function marginText(margin) {
  const where = margin.core === null ? "" : ` of core ${margin.core}`;
  const whose = margin.layer === null ? "" : ` (${margin.layer})`;
  const unit = { cores: "", fan_out: "" }[margin.resource] ?? " words";
  const used = `${margin.used} of ${margin.offered}${unit} used, ${percent(margin.free_share)} free`;
  return `${RESOURCES[margin.resource]}${where}${whose}: ${used}`;
}

/** A cell in one sentence, for labels and hints. */
function cellSentence(network, variant) {
  const cell = cellAt(network, variant);
  const verdict = VERDICTS[cell?.verdict ?? "pending"].word;
  const told = cell?.margin ? marginText(cell.margin) : cell?.sentence ?? "";
  const cores = cell?.cores_used ? ` on ${count(cell.cores_used, "core")}` : "";
  const names = `${report.networks[network].name} on ${report.variants[variant].name}`;
  return `${names}: ${verdict}${cores}${told ? `. ${told}` : ""}`;
}
