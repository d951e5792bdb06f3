// What tests ask of a page: contrast of every text that is seen, and a picture as nested lists.

const channels = (color) => (color.match(/[\d.]+/g) ?? []).map(Number);

function luminance([red, green, blue]) {
  const linear = [red, green, blue].map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}

function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

/** The ground behind an element: a box drawn in the picture, or the nearest background that is not see-through. */
function ground(element) {
  const tile = element.closest(".mfp-core, .mfp-node");
  if (tile) return channels(getComputedStyle(tile.querySelector(".mfp-box")).fill);
  const before = element.previousElementSibling;
  if (before?.matches(".mfp-bus")) return channels(getComputedStyle(before).fill);
  for (let node = element; node; node = node.parentElement) {
    const color = channels(getComputedStyle(node).backgroundColor);
    if (color.length === 3 || color[3] === 1) return color;
    if (color[3] > 0) return [NaN, NaN, NaN]; // What shines through is not worked out here: such a text fails.
  }
  return [255, 255, 255];
}

function isSeen(element) {
  const box = element.getBoundingClientRect();
  return box.width > 0 && box.height > 0 && element.checkVisibility({ visibilityProperty: true });
}

/** [contrast, text, color, ground] of every element with text of its own. */
function contrasts() {
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join("").trim();
    if (!text || !isSeen(element) || element.closest("title, desc, option, script, style")) continue;
    const style = getComputedStyle(element), isDrawn = element instanceof SVGElement;
    const color = channels(isDrawn ? style.fill : style.color), behind = ground(element);
    found.push([contrast(color, behind), text, String(color), String(behind)]);
  }
  return found;
}

function nested(node) {
  if (node.nodeType === 3) return node.data;
  const attributes = Object.fromEntries([...node.attributes].filter((each) => !["xmlns", "role", "tabindex", "aria-label"].includes(each.name))
    .map((each) => [each.name.toLowerCase(), each.value]));
  return [node.localName.toLowerCase(), attributes, [...node.childNodes].map(nested).filter((child) => child !== "")];
}

/** Cells of tables, captions and paragraphs that have a line for every word, though there are several: [lines, text]. */
function wordByWord() {
  const found = [];
  for (const cell of document.body.querySelectorAll("td, th, caption, p, li, h1, h2, h3")) {
    const listed = cell.innerText.trim().split(/\s+/).filter((word) => /\w/.test(word)), words = listed.length;
    // A word that fills a line is no fault of the column's.
    if (words < 4 || listed.some((word) => word.length > 20) || !isSeen(cell) || cell.querySelector("table")) continue;
    const range = document.createRange();
    range.selectNodeContents(cell);
    const tops = [];
    for (const box of range.getClientRects()) if (!tops.some((top) => Math.abs(top - box.top) < 6)) tops.push(box.top);
    if (tops.length >= words) found.push([tops.length, cell.innerText]);
  }
  return found;
}

/** Texts of a picture that leave their box, or the picture. */
function overhanging() {
  const picture = document.querySelector("svg.mfp"), edge = picture.getBoundingClientRect(), found = [];
  for (const text of picture.querySelectorAll("text")) {
    const box = text.closest(".mfp-core, .mfp-node")?.querySelector(".mfp-box").getBoundingClientRect() ?? edge;
    const place = text.getBoundingClientRect();
    const isIn = place.left >= box.left && place.right <= box.right && place.top >= box.top && place.bottom <= box.bottom;
    if (text.textContent && !isIn) found.push([text.textContent, place.left - box.left, box.right - place.right]);
  }
  return found;
}
