// Matrix first, summaries when it stands.

function finishSummaries() {
  const variants = document.getElementById("variants"), networks = document.getElementById("networks");
  if (variants.childElementCount > 1) return;
  variants.append(variantSummaries());
  networks.append(networkSummaries());
}

function openFromAddress() {
  const [, network, variant] = /^#cell-(\d+)-(\d+)$/.exec(location.hash) ?? [];
  if (network < report.networks.length && variant < report.variants.length) openCell(Number(network), Number(variant));
}

const matrixPlace = document.getElementById("matrix");
matrixPlace.append(buildControls(), buildGrid());
document.body.append(buildDetail());
refresh();
performance.mark("matrix");
watchPrint();
openFromAddress();
addEventListener("hashchange", openFromAddress);
requestAnimationFrame(() => setTimeout(() => {
  finishSummaries();
  performance.mark("summaries");
}));
