// On paper the matrix is whole: blocks of as many variants as fit beside each other.

const PER_BLOCK = 6;

function printedMatrix() {
  const blocks = [];
  for (let start = 0; start < view.columns.length; start += PER_BLOCK) {
    const columns = view.columns.slice(start, start + PER_BLOCK);
    const head = el("tr", {}, el("th", {}, "network"), columns.map((c) => el("th", {}, named(report.variants[c].name))));
    const rows = view.rows.map((r) => el("tr", {}, el("th", {}, named(report.networks[r].name)), columns.map((c) => {
      const cell = cellAt(r, c), [word, more] = cellLines(cell);
      if (!isShown(r, c)) return el("td", {}, "");
      return el("td", { class: look(cell) }, `${VERDICTS[verdictAt(r, c)].symbol} ${word}`, more && el("br"), more);
    })));
    blocks.push(el("table", {}, el("thead", {}, head), el("tbody", {}, rows)));
  }
  return blocks;
}

function preparePrint() {
  finishSummaries();
  document.getElementById("printed").replaceChildren(...(detail.box.open ? [] : printedMatrix()));
}

const endPrint = () => document.getElementById("printed").replaceChildren();

function watchPrint() {
  addEventListener("beforeprint", preparePrint);
  addEventListener("afterprint", endPrint);
  matchMedia("print").addEventListener("change", (event) => (event.matches ? preparePrint() : endPrint()));
}
