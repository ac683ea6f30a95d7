// The page: a picture, what the detector says of it, and what an attack makes of it.

import { histogram, path, short } from "./chart.js";
import { framed, unframed } from "./drawing.js";
import { Pad } from "./pad.js";
import { difference, flat, nested, planes, resized, shown, unpacked } from "./pixels.js";
import { Failed, ask, byId, complain, guarded } from "./server.js";
import { classOf, headline, origin, outcome, pValue, percent } from "./words.js";

const RATES = [0.01, 0.05, 0.1];
const LARGEST = 1024; // pixels a side that a picture is shrunk to, before it is resized as the server would

let server = {}; // what GET /v1/page says: detectors, and what the server offers
let model = {}; // the one that is asked
let scores = null; // of its benign images
let source = null; // {strokes} or {picture}: planes in [0, 1] as they were opened
let picture = null; // the planes that were asked about
let verdict = null;
let attacked = null; // answer to the last attack, with the steps' planes
let asked = 0; // number of the last question, so that late answers are dropped
let timer = null;

const pad = new Pad(byId("pad"), () => {
  source = { strokes: pad.strokes };
  look();
});

// --- asking ----------------------------------------------------------------------------------------------------------

function address(what) {
  return `v1/models/${encodeURIComponent(model.name)}/${what}`;
}

function rate() {
  return Number(byId("fpr").value);
}

function side() {
  return { channels: model.image_shape[0], height: model.image_shape[1], width: model.image_shape[2] };
}

async function start() {
  server = await ask("v1/page");
  const { models } = await ask("v1/models");
  server.models = models;
  byId("model").replaceChildren(...models.map(({ name }) => new Option(name)));
  byId("to-evaluation").hidden = !server.evaluation;
  byId("main").hidden = false;
  byId("attack").hidden = !server.attacks;
  await choose();
}

/** Begin with the detector that is selected. */
async function choose() {
  model = server.models.find(({ name }) => name === byId("model").value);
  const { channels, height, width } = side();
  byId("drawing").hidden = channels !== 1 || height !== width;
  byId("sample").hidden = !server.examples.includes(model.name);
  const rates = RATES.filter((one) => one >= model.finest_fpr);
  const offered = rates.includes(server.fpr) ? rates : [...rates, server.fpr].sort((a, b) => a - b);
  byId("fpr").replaceChildren(...offered.map((one) => new Option(percent(one), one, false, one === server.fpr)));
  byId("true-class").replaceChildren(new Option("as the detector reads it", ""), ...model.class_names.map((one) => new Option(one)));
  byId("steps").max = server.most_steps;
  scores = null;
  if (source?.picture && source.picture.length !== channels) source = null;
  if (source?.strokes && byId("drawing").hidden) source = null;
  byId("verdict").hidden = true;
  byId("attacked").hidden = true;
  if (source) await look();
}

/** The picture in the detector's size. */
function asTheDetectorSees() {
  const { height, width } = side();
  if (source.strokes) {
    return [byId("frame").checked ? framed(source.strokes, height) : unframed(source.strokes, pad.size, height)];
  }
  const small = source.picture.map((plane) => resized(plane, source.width, source.height, width, height));
  return byId("invert").checked ? small.map((plane) => plane.map((value) => 1 - value)) : small;
}

/** Ask about the picture, and show the answer. */
async function look() {
  forgetAttack();
  if (!source || source.strokes?.length === 0) {
    asked += 1;
    byId("verdict").hidden = true;
    picture = null;
    return;
  }
  const number = asked += 1;
  const { channels, height, width } = side();
  byId("invert-row").hidden = channels !== 1 || !source.picture;
  picture = asTheDetectorSees();
  paint(byId("seen"), shown(picture));
  byId("verdict").setAttribute("aria-busy", "true");
  await guarded(async () => {
    const about = `fpr=${rate()}`;
    if (scores?.model !== model.name || scores.fpr !== rate()) scores = await ask(address(`scores?${about}`));
    const { results } = await ask(address(`detect?${about}`), { images: [nested(picture, height, width)] });
    if (number !== asked) return;
    [verdict] = results;
    complain("");
    showVerdict();
    await showNeighbours(number);
  });
  if (number === asked) byId("verdict").setAttribute("aria-busy", "false");
}

async function attack() {
  if (!picture) {
    complain("there is no picture yet; draw one, or open one");
    return;
  }
  const number = asked;
  const { channels, height, width } = side();
  const form = new FormData(byId("attack-form"));
  const settings = new URLSearchParams({
    attack: form.get("attack"), epsilon: byId("epsilon").value, steps: byId("steps").value, fpr: rate(),
  });
  if (byId("true-class").value) settings.set("label", byId("true-class").value);
  byId("go").disabled = true;
  byId("go").textContent = "Attacking …";
  await guarded(async () => {
    const { results } = await ask(address(`attack?${settings}`), { images: [nested(picture, height, width)] });
    if (number !== asked) return;
    complain("");
    [attacked] = results;
    attacked.fpr = rate();
    attacked.epsilon = Number(settings.get("epsilon"));
    attacked.pictures = attacked.steps.map(({ pixels }) => unpacked(pixels, channels));
    attacked.final = flat(attacked.image);
    showAttack();
  });
  byId("go").disabled = false;
  byId("go").textContent = "Attack";
}

// --- showing ---------------------------------------------------------------------------------------------------------

function paint(canvas, rgba) {
  const { height, width } = side();
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
}

function showVerdict() {
  byId("label").textContent = verdict.label;
  byId("flag").textContent = headline(verdict, rate());
  byId("flag").className = verdict.adversarial ? "bad" : "";
  byId("p").textContent = pValue(verdict.p_value);
  byId("suspicion").textContent = verdict.suspicion === null ? "not finite" : short(verdict.suspicion);
  byId("origin").textContent = origin(verdict, scores);
  showHistogram(verdict.label, [{ suspicion: verdict.suspicion, name: "this picture" }]);
  byId("verdict").hidden = false;
}

/** Benign scores of those that are read as `label`, and marks of pictures that are. */
function showHistogram(label, marks) {
  const own = classOf(scores, label);
  const counts = scores.together ? scores.counts : own.counts;
  const drawn = histogram({ edges: scores.edges, counts, threshold: own.threshold }, marks.filter((one) => one.suspicion !== null));
  byId("histogram").replaceChildren(drawn);
  const of = scores.together ? "all classes" : `those read as “${label}”`;
  byId("histogram-note").textContent = `Suspicion of the benign calibration images, ${of}. Right of the threshold a picture is flagged.`;
}

async function showNeighbours(number) {
  byId("neighbours").hidden = true;
  if (!server.examples.includes(model.name) || verdict.suspicion === null) return;
  const about = new URLSearchParams({ label: verdict.label, suspicion: verdict.suspicion });
  const near = await ask(address(`examples?${about}`));
  if (number !== asked || !near.images.length) return;
  byId("neighbours-note").textContent = near.calibration
    ? `Of these benign images, read as “${verdict.label}”, the suspicion is nearest to this picture's:`
    : `Benign images read as “${verdict.label}”, nearest in suspicion; the detector was calibrated on others:`;
  byId("neighbour-list").replaceChildren(...near.images.map(({ pixels, suspicion }) => {
    const canvas = document.createElement("canvas");
    canvas.className = "pixels";
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `benign image of suspicion ${short(suspicion)}`);
    paint(canvas, shown(unpacked(pixels, side().channels)));
    const item = document.createElement("li");
    item.append(canvas, short(suspicion));
    return item;
  }));
  byId("neighbours").hidden = false;
}

function showAttack() {
  byId("outcome").textContent = outcome(attacked, attacked.fpr);
  byId("outcome").className = attacked.misclassified && attacked.undetected ? "bad" : "";
  paint(byId("before"), shown(picture));
  byId("step").max = attacked.steps.length; // the last one: what is kept
  byId("attacked").hidden = false;
  showStep(attacked.steps.length);
}

/** Step 0 is the picture itself; after the last one comes what the attack keeps, the best of them. */
function showStep(number) {
  const kept = number === attacked.steps.length;
  const said = kept ? attacked.after : attacked.steps[number].verdict;
  const now = kept ? attacked.final : attacked.pictures[number];
  byId("step").value = number;
  byId("step-said").textContent = kept ? "what is kept" : `step ${number} of ${attacked.steps.length - 1}`;
  byId("after-said").textContent = kept ? "after" : `step ${number}`;
  paint(byId("after"), shown(now));
  paint(byId("change"), difference(picture, now, attacked.epsilon));
  byId("step-verdict").textContent = `“${said.label}”, ${said.adversarial ? "flagged" : "passes"}, p-value ${pValue(said.p_value)}`;
  const steps = [...attacked.steps.map((one) => one.verdict), attacked.after].map((one) => ({
    excess: (one.suspicion ?? Infinity) - classOf(scores, one.label).threshold, misclassified: one.label !== attacked.label,
  }));
  byId("path").replaceChildren(path(steps, number));
  const marks = [{ suspicion: said.suspicion, name: kept ? "attacked" : `step ${number}` }];
  if (said.label === verdict.label) marks.unshift({ suspicion: verdict.suspicion, name: "before" });
  showHistogram(said.label, marks);
}

function forgetAttack() {
  pause();
  attacked = null;
  byId("attacked").hidden = true;
}

// --- playing ---------------------------------------------------------------------------------------------------------

function play() {
  if (timer) {
    pause();
    return;
  }
  byId("play").textContent = "Pause";
  let next = Number(byId("step").value) >= attacked.steps.length ? 0 : Number(byId("step").value);
  const seconds = Math.max(0.06, Math.min(0.5, 5 / attacked.steps.length));
  timer = setInterval(() => {
    showStep(next);
    next += 1;
    if (next > attacked.steps.length) pause();
  }, 1000 * seconds);
}

function pause() {
  clearInterval(timer);
  timer = null;
  byId("play").textContent = "Play";
}

// --- pictures --------------------------------------------------------------------------------------------------------

async function open(file) {
  if (!file) return;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    complain(`${file.name} is no picture that this browser reads; give PNG or JPEG`);
    return;
  }
  const shrink = Math.min(1, LARGEST / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(shrink * bitmap.width));
  canvas.height = Math.max(1, Math.round(shrink * bitmap.height));
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const opened = planes(data, side().channels).map((plane) => plane.map((value) => value / 255));
  pad.clear();
  source = { picture: opened, width: canvas.width, height: canvas.height };
  await look();
}

async function sample() {
  await guarded(async () => {
    const { images } = await ask(address(`examples?seed=${Math.floor(Math.random() * 2 ** 31)}`));
    const { channels, height, width } = side();
    pad.clear();
    byId("invert").checked = false;
    source = { picture: unpacked(images[0].pixels, channels), width, height };
    await look();
  });
}

// --- events ----------------------------------------------------------------------------------------------------------

function sayEpsilon() {
  byId("epsilon-said").textContent = byId("epsilon").value;
}

byId("model").addEventListener("change", () => guarded(choose));
byId("clear").addEventListener("click", () => { pad.clear(); source = null; look(); });
byId("sample").addEventListener("click", sample);
byId("file").addEventListener("change", (event) => { open(event.target.files[0]); event.target.value = ""; });
for (const id of ["frame", "invert", "fpr"]) byId(id).addEventListener("change", look);
byId("attack-form").addEventListener("submit", (event) => { event.preventDefault(); attack(); });
byId("epsilon").addEventListener("input", sayEpsilon);
byId("step").addEventListener("input", (event) => { pause(); showStep(Number(event.target.value)); });
byId("play").addEventListener("click", play);
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); byId("drop").classList.add("over"); });
}
document.addEventListener("dragleave", () => byId("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  byId("drop").classList.remove("over");
  open(event.dataTransfer.files[0]);
});

sayEpsilon();
pad.show();
guarded(start);
