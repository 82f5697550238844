// The two small plots of the laboratory: the functions of a family, and how much of a field lies at which frequency.
const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [340, 150, 34, 8, 8, 28];

function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function frame(title, note, ...children) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.textContent = title;
  const small = document.createElement("small");
  small.textContent = note;
  figure.append(caption, svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title }, ...children), small);
  return figure;
}

function text(x, y, words, anchor = "middle") {
  return svg("text", { x, y, "text-anchor": anchor, class: "tick" }, words);
}

const across = (share) => LEFT + share * (WIDTH - LEFT - RIGHT);
const down = (share) => TOP + (1 - share) * (HEIGHT - TOP - BOTTOM);

// Order 0 is dark, the highest bright: viridis, which the colour-blind can order too.
const VIRIDIS = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"];

export function basisPlot(data) {
  const [low, high] = data.window;
  if (!data.functions.length) {
    const empty = frame("Functions of the family", "Each axis takes one of the five families by chance.");
    empty.querySelector("svg").remove();
    return empty;
  }
  const lines = data.functions.map((values, order) => svg("polyline", {
    class: "function",
    stroke: VIRIDIS[Math.round((order / Math.max(1, data.functions.length - 1)) * (VIRIDIS.length - 1))],
    points: values.map((value, at) => `${across(at / (values.length - 1)).toFixed(1)},${down((value + 1) / 2).toFixed(1)}`).join(" "),
  }, svg("title", {}, `order ${order}`)));
  return frame("Functions of the family", `Orders 0 (dark) to ${data.order} (bright), each scaled to 1.`,
    svg("line", { class: "axis", x1: across(0), x2: across(1), y1: down(0.5), y2: down(0.5) }), ...lines,
    text(LEFT - 6, down(1) + 4, "1", "end"), text(LEFT - 6, down(0.5) + 4, "0", "end"), text(LEFT - 6, down(0) + 4, "−1", "end"),
    text(across(0), HEIGHT - 10, low.toFixed(1), "start"), text(across(1), HEIGHT - 10, high.toFixed(1), "end"),
    text(across(0.5), HEIGHT - 10, "one side of the window"));
}

export function spectrumPlot(data) {
  const top = Math.max(...data.power, 1e-9);
  const wide = (WIDTH - LEFT - RIGHT) / data.power.length;
  const bars = data.power.map((power, at) => svg("rect", {
    class: "power", x: LEFT + at * wide + 1, width: wide - 2, y: down(power / top), height: down(0) - down(power / top),
  }, svg("title", {}, `${at} cycles a side: ${(100 * power).toFixed(1)} %`)));
  const ticks = [0, 5, 10, 15, 20].map((at) => text(LEFT + (at + 0.5) * wide, HEIGHT - 10, `${at}`));
  return frame("Spectrum of its fields",
    `Share of power by cycles a side, mean of 24 fields; on average ${data.mean_frequency.toFixed(1)} cycles.`,
    ...bars, svg("line", { class: "axis", x1: across(0), x2: across(1), y1: down(0), y2: down(0) }), ...ticks,
    text(LEFT - 6, down(1) + 4, `${Math.round(100 * top)} %`, "end"), text(LEFT - 6, down(0) + 4, "0", "end"));
}
