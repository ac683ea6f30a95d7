// Drawings by script: where a verdict lies among benign scores, and the path of an attack.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 480, HEIGHT = 170, LEFT = 8, RIGHT = 8, TOP = 22, BOTTOM = 26;

/** An element of an SVG with attributes, text and children. */
function element(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
  made.append(...children);
  return made;
}

function drawing(description, ...children) {
  const box = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": description };
  return element("svg", box, ...children);
}

function text(x, y, words, anchor = "middle") {
  return element("text", { x, y, "text-anchor": anchor }, words);
}

/** From values to places; what lies beyond the ends is drawn at them. */
function scale(from, to, first, last) {
  const width = to - from || 1;
  return (value) => first + (last - first) * Math.max(0, Math.min(1, (value - from) / width));
}

export function short(value) {
  return Number(value.toPrecision(3)).toString().replace("-", "−");
}

/**
 * Benign scores of a class as bars, its threshold as a line, and marks of pictures.
 *
 * @param {{edges: number[], counts: number[], threshold: number}} benign
 * @param {{suspicion: number, name: string}[]} marks
 */
export function histogram(benign, marks) {
  const { edges, counts, threshold } = benign;
  const first = edges[0], last = edges[edges.length - 1];
  const x = scale(first, last, LEFT, WIDTH - RIGHT);
  const floor = HEIGHT - BOTTOM;
  const y = scale(0, Math.max(...counts, 1), floor, TOP);
  const bars = counts.map((count, i) => element("rect", {
    class: "bar", x: x(edges[i]), y: y(count), width: Math.max(0.5, x(edges[i + 1]) - x(edges[i]) - 1), height: floor - y(count),
  }, element("title", {}, `${count} from ${short(edges[i])} to ${short(edges[i + 1])}`)));
  const level = x(threshold);
  const parts = [
    ...bars,
    element("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: floor, y2: floor }),
    element("line", { class: "level", x1: level, x2: level, y1: TOP - 6, y2: floor }),
    text(Math.min(level, WIDTH - 40), TOP - 10, "threshold"),
    text(LEFT, HEIGHT - 8, short(first), "start"),
    text(WIDTH - RIGHT, HEIGHT - 8, short(last), "end"),
    text(WIDTH / 2, HEIGHT - 8, "suspicion →"),
  ];
  marks.forEach(({ suspicion, name }) => {
    const place = x(suspicion);
    const beyond = suspicion > last ? " →" : suspicion < first ? " ←" : "";
    parts.push(element("line", { class: "mark", x1: place, x2: place, y1: TOP + 22, y2: floor }));
    parts.push(element("circle", { class: "mark-dot", cx: place, cy: TOP + 22, r: 5 }));
    parts.push(text(Math.max(50, Math.min(WIDTH - 70, place)), TOP + 12, `${name} ${short(suspicion)}${beyond}`));
  });
  const said = marks.map(({ suspicion, name }) => `${name} at ${short(suspicion)}`).join(", ");
  return drawing(`Histogram of benign suspicion from ${short(first)} to ${short(last)}; threshold ${short(threshold)}; ${said}`, ...parts);
}

/**
 * Suspicion less threshold, step by step; large values are squeezed together.
 *
 * @param {{excess: number, misclassified: boolean}[]} steps
 * @param {number} now which of them is looked at
 */
export function path(steps, now) {
  const squeezed = steps.map(({ excess }) => Math.sign(excess) * Math.log1p(Math.abs(excess)));
  const low = Math.min(0, ...squeezed), high = Math.max(0, ...squeezed);
  const x = scale(0, steps.length - 1, LEFT + 8, WIDTH - RIGHT - 8);
  const y = scale(low, high, HEIGHT - BOTTOM, TOP);
  const points = squeezed.map((value, i) => [x(i), y(value)]);
  const dots = points.map(([cx, cy], i) => element("circle", {
    class: `dot${steps[i].misclassified ? " misclassified" : ""}${i === now ? " now" : ""}`, cx, cy, r: i === now ? 6 : 3.5,
  }));
  return drawing(
    `Suspicion less threshold, step by step; at step ${now} it is ${short(steps[now].excess)}`,
    element("polyline", { class: "route", points: points.map((point) => point.join(",")).join(" ") }),
    element("line", { class: "level", x1: LEFT, x2: WIDTH - RIGHT, y1: y(0), y2: y(0) }),
    ...dots,
    text(WIDTH - RIGHT, y(0) - 5, "threshold", "end"),
    text(LEFT, HEIGHT - 8, "step 0", "start"),
    text(WIDTH - RIGHT, HEIGHT - 8, "kept", "end"),
  );
}
