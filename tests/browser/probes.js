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
  const tile = element.closest(".mfp-core");
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
  const attributes = Object.fromEntries([...node.attributes].filter((each) => each.name !== "xmlns")
    .map((each) => [each.name.toLowerCase(), each.value]));
  return [node.localName.toLowerCase(), attributes, [...node.childNodes].map(nested).filter((child) => child !== "")];
}
