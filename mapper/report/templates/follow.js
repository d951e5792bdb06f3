// Signals of a floorplan, lit from layer to core to layer, by pointer and by keyboard.

const FOLLOW_HINT = "Point at a layer, a core or a wire to follow its signal. By keyboard: Tab into the picture; ↓ and ↑ go "
  + "along a signal, ← and → to the neighbours, Enter from a layer to its core and back, Esc lets go.";

/** Make a picture that is drawn answer; what is followed is told as a sentence in `told`. */
function follow(picture, told) {
  const all = (selector) => [...picture.querySelectorAll(selector)];
  const nodes = all(".mfp-node"), tiles = all(".mfp-core:not(.mfp-empty)"), stops = [...nodes, ...tiles];
  const links = all(".mfp-link"), wires = all(".mfp-wire"), lines = [...links, ...wires];
  const words = (part) => part?.querySelector(":scope > title")?.textContent ?? "";
  const carried = (wire) => wire.dataset.links.split(" ").filter(Boolean);
  const nodeOf = (number) => nodes.find((node) => node.dataset.node === number);
  const tileOf = (place) => tiles.find((tile) => tile.dataset.core === place);
  const tilesOf = (node) => (node.dataset.places ?? "").split(" ").filter(Boolean).map(tileOf);
  const ends = (line) => (line.matches(".mfp-link")
    ? [nodeOf(line.dataset.source), nodeOf(line.dataset.target)]
    : [tileOf(line.dataset.source), tileOf(line.dataset.target)]);
  let kept = null;

  /** Numbers of the links that a part sends, or gets where it sends nothing. */
  function linksOf(part) {
    if (part.matches(".mfp-link")) return [part.dataset.link];
    if (part.matches(".mfp-wire")) return carried(part);
    if (part.dataset.node === undefined) {
      return wires.filter((wire) => ends(wire).includes(part)).flatMap(carried);
    }
    const sent = links.filter((link) => link.dataset.source === part.dataset.node);
    return (sent.length ? sent : links.filter((link) => link.dataset.target === part.dataset.node))
      .map((link) => link.dataset.link);
  }

  function light(part) {
    const lit = new Set(part ? linksOf(part) : []);
    const on = new Set(lines.filter((line) => (line.matches(".mfp-link") ? lit.has(line.dataset.link)
      : carried(line).some((link) => lit.has(link)))));
    for (const line of [...on]) for (const end of ends(line)) if (end) on.add(end);
    for (const each of [...lines, ...stops]) each.classList.toggle("is-lit", on.has(each));
    const partner = part?.dataset.node === undefined ? null : nodeOf(part.dataset.node);
    const origins = partner ? [partner, ...tilesOf(partner)] : [part];
    for (const each of stops) each.classList.toggle("is-origin", origins.includes(each));
    picture.classList.toggle("is-following", part !== null);
    told.textContent = part ? sentence(part) : "";
  }

  function sentence(part) {
    if (!part.matches(".mfp-node")) return words(part);
    const readers = links.filter((link) => link.dataset.source === part.dataset.node)
      .map((link) => words(nodeOf(link.dataset.target)));
    return words(part) + (readers.length ? `; sends to ${readers.join("; and to ")}` : "");
  }

  /** The other end of the first line that leaves a part (1), or reaches it (-1). */
  function along(part, way) {
    const [mine, other] = way > 0 ? [0, 1] : [1, 0];
    const line = (part.matches(".mfp-node") ? links : wires).find((each) => ends(each)[mine] === part && ends(each)[other]);
    return line && ends(line)[other];
  }

  const beside = (part, step) => stops[stops.indexOf(part) + step];
  const STEPS = {
    ArrowDown: (part) => along(part, 1), ArrowUp: (part) => along(part, -1),
    ArrowRight: (part) => beside(part, 1), ArrowLeft: (part) => beside(part, -1),
    Home: () => stops[0], End: () => stops.at(-1),
    Enter: (part) => (part.matches(".mfp-node") ? tilesOf(part)[0] : nodeOf(part.dataset.node)),
  };
  STEPS[" "] = STEPS.Enter;

  function go(part) {
    for (const each of stops) each.setAttribute("tabindex", each === part ? "0" : "-1");
    part.focus();
    part.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  for (const [n, stop] of stops.entries()) fill(stop, { tabindex: n ? "-1" : "0", role: "button", "aria-label": words(stop) }, []);
  if (stops.length) picture.setAttribute("role", "group");
  // A picture that listens to the focus would be a stop for Tab itself: what it stands in listens.
  const frame = picture.parentElement;
  picture.addEventListener("mouseover", (event) => {
    light(event.target.closest(".mfp-node, .mfp-core:not(.mfp-empty), .mfp-wire, .mfp-link") ?? kept);
  });
  picture.addEventListener("mouseleave", () => light(kept));
  frame.addEventListener("focusin", (event) => {
    kept = event.target.closest(".mfp-node, .mfp-core");
    light(kept);
  });
  frame.addEventListener("focusout", () => {
    kept = null;
    light(null);
  });
  picture.addEventListener("click", (event) => {
    const stop = event.target.closest(".mfp-node, .mfp-core:not(.mfp-empty)");
    if (stop) go(stop);
  });
  picture.addEventListener("keydown", (event) => {
    const part = stops.find((stop) => stop === event.target);
    if (!part) return;
    if (event.key === "Escape" && kept) {
      event.preventDefault();
      event.stopPropagation();
      kept = null;
      light(null);
    } else if (STEPS[event.key]) {
      event.preventDefault();
      const next = STEPS[event.key](part);
      if (next) go(next);
    }
  });
}
