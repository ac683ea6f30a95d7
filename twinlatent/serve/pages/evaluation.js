// The page of an evaluation: asks every two seconds what is done, and shows the report as soon as there is one.

import { Failed, ask, byId, complain, guarded } from "./server.js";
import { ago } from "./words.js";

const SECONDS = 2;
const STATES = {
  empty: "Nothing has been evaluated here yet.",
  unfinished: "The evaluation is under way.",
  stopped: "The evaluation was stopped; the same command resumes it.",
  finished: "The evaluation is finished.",
};

let shownReport = null; // the address of the report that is shown, which changes with it

function cell(words) {
  const made = document.createElement("td");
  made.textContent = words;
  return made;
}

function show(found) {
  byId("name").textContent = found.name;
  byId("state").textContent = STATES[found.state];
  const quiet = found.seconds_since;
  byId("last").textContent = quiet === null ? "" : `Last written: ${ago(quiet)}.`
    + (found.state === "unfinished" && quiet > 600 ? " Nothing new for long: it may have been killed." : "");
  byId("parts").replaceChildren(...found.parts.map((part) => {
    const row = document.createElement("tr");
    row.append(...[part.where, part.what, part.files, ago(part.seconds_since)].map(cell));
    return row;
  }));
  byId("done").hidden = !found.parts.length;
  byId("report").hidden = !found.report;
  if (found.report && found.report !== shownReport) {
    shownReport = found.report;
    byId("page").src = found.report;
    byId("alone").href = found.report;
  }
}

async function refresh() {
  const found = await ask("v1/evaluation");
  complain("");
  byId("main").hidden = false;
  show(found);
}

async function watch() {
  if (!document.hidden) {
    try {
      await refresh();
    } catch (error) {
      if (!(error instanceof Failed)) throw error;
      complain(error.message);
    }
  }
  setTimeout(watch, 1000 * SECONDS);
}

guarded(async () => {
  await refresh();
  setTimeout(watch, 1000 * SECONDS);
});
