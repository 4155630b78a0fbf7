// Draws the graph of the steps. What it draws comes from the data beside it; every text is set as text.
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const PAD = 14, TITLE = 34, NODE_HEIGHT = 46, MOST_LETTERS = 34, SMALLEST = 0.65;
  const data = JSON.parse(document.getElementById("data").textContent);
  const place = document.getElementById("drawing");
  const measure = document.createElement("canvas").getContext("2d");

  function element(name, attributes, ...children) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  function short(text) {
    return text.length > MOST_LETTERS ? text.slice(0, MOST_LETTERS - 1) + "…" : text;
  }

  function widthOf(text, font) {
    measure.font = font;
    return measure.measureText(text).width;
  }

  function titleOf(step) {
    return short(step.name) + (step.many ? " ×" : "");
  }

  function ownWidth(step) {
    const title = widthOf(titleOf(step), "600 13px system-ui, -apple-system, 'Segoe UI', sans-serif");
    const detail = widthOf(step.detail, "11.5px system-ui, -apple-system, 'Segoe UI', sans-serif");
    return Math.max(title, detail) * 1.05 + 28;
  }

  // A group is laid out by itself, and is one box for those around it.
  function laidOut(steps, direction) {
    const graph = new dagre.graphlib.Graph();
    graph.setGraph({ rankdir: direction, nodesep: 22, ranksep: 38, marginx: 0, marginy: 0 });
    graph.setDefaultEdgeLabel(() => ({}));
    for (const step of steps) {
      const inside = step.steps.length ? laidOut(step.steps, direction) : null;
      const width = Math.max(ownWidth(step), inside ? inside.width + 2 * PAD : 0);
      const height = inside ? inside.height + TITLE + PAD + 8 : NODE_HEIGHT;
      graph.setNode(step.name, { step, inside, width, height });
    }
    for (const step of steps) for (const need of step.needs) graph.setEdge(need, step.name);
    const needed = new Set(steps.flatMap((step) => step.needs));
    const last = steps.filter((step) => !step.finally && !needed.has(step.name));
    const firsts = steps.filter((step) => step.finally && !step.needs.length);
    for (const from of last) for (const to of firsts) graph.setEdge(from.name, to.name, { last: true });
    dagre.layout(graph);
    const size = graph.graph();
    return { graph, width: size.width, height: size.height };
  }

  function drawnEdges(layout, x, y) {
    return layout.graph.edges().map((edge) => {
      const found = layout.graph.edge(edge);
      const points = found.points.map((point) => [point.x + x, point.y + y]);
      return element("path", { d: curve(points), class: found.last ? "edge last" : "edge", "marker-end": "url(#arrow)" });
    });
  }

  function curve(points) {
    const [first, ...rest] = points;
    if (rest.length < 2) return `M${first} L${rest.join(" ")}`;
    let path = `M${first}`;
    for (let number = 0; number < rest.length - 2; number++) {
      const [here, next] = [rest[number], rest[number + 1]];
      path += ` Q${here} ${[(here[0] + next[0]) / 2, (here[1] + next[1]) / 2]}`;
    }
    return `${path} Q${rest[rest.length - 2]} ${rest[rest.length - 1]}`;
  }

  function drawn(layout, x, y) {
    const nodes = layout.graph.nodes().map((name) => {
      const node = layout.graph.node(name);
      return node.inside ? drawnGroup(node, node.x - node.width / 2 + x, node.y - node.height / 2 + y)
        : drawnNode(node, node.x - node.width / 2 + x, node.y - node.height / 2 + y);
    });
    return [...drawnEdges(layout, x, y), ...nodes];
  }

  function drawnNode(node, x, y) {
    const { step, width, height } = node;
    const middle = x + width / 2;
    const lines = step.detail ? [[19, ""], [35, "detail"]] : [[27, ""]];
    return element("g", { class: step.status },
      element("rect", { class: "node", x, y, width, height, rx: step.kind === "run" ? 5 : 15 }),
      linked(step, ...lines.map(([down, kind]) => element("text", { x: middle, y: y + down, "text-anchor": "middle", class: kind }, kind ? step.detail : titleOf(step)))));
  }

  function drawnGroup(node, x, y) {
    const { step, inside, width, height } = node;
    return element("g", { class: step.status },
      element("rect", { class: "group", x, y, width, height, rx: 8 }),
      linked(step,
        element("text", { x: x + 12, y: y + 17 }, titleOf(step)),
        element("text", { x: x + 12, y: y + 32, class: "detail" }, step.detail)),
      ...drawn(inside, x + (width - inside.width) / 2, y + TITLE + 8));
  }

  function linked(step, ...texts) {
    const link = element("a", { href: "#" + step.anchor }, ...texts);
    link.append(element("title", {}, `${step.name}: ${step.status}`));
    return link;
  }

  function arrow() {
    const shape = element("path", { d: "M0 0 L8 4 L0 8 z", class: "arrow" });
    return element("defs", {}, element("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7.5, refY: 4, markerWidth: 8, markerHeight: 8, orient: "auto" }, shape));
  }

  // Across where that fits, else downwards; a little smaller where that helps.
  function fitting() {
    const room = place.parentElement.clientWidth - 4;
    const across = laidOut(data.steps, "LR");
    return across.width <= room ? across : laidOut(data.steps, "TB");
  }

  function draw() {
    const layout = fitting();
    const [width, height] = [Math.ceil(layout.width) + 4, Math.ceil(layout.height) + 4];
    const scale = Math.max(SMALLEST, Math.min(1, (place.parentElement.clientWidth - 4) / width));
    const drawing = element("svg", { width: width * scale, height: height * scale, viewBox: `-2 -2 ${width} ${height}`, role: "img", "aria-label": "The steps as a graph" }, arrow(), ...drawn(layout, 0, 0));
    place.replaceChildren(drawing);
    place.hidden = false;
  }

  // A link leads into what may be closed.
  function openTarget() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let each = target; each; each = each.parentElement) if (each.tagName === "DETAILS") each.open = true;
    if (target) target.scrollIntoView();
  }

  if (data.steps.length) {
    draw();
    document.getElementById("listed").open = false;
    let width = innerWidth;
    addEventListener("resize", () => {
      if (innerWidth !== width) draw();
      width = innerWidth;
    });
  }
  addEventListener("hashchange", openTarget);
  openTarget();
})();
