// What is said of a verdict, in words. Pure functions, no document.
//
// A verdict has label, p_value, adversarial and suspicion; `scores` is what GET /v1/models/NAME/scores answers.

export function percent(share) {
  return `${Number((100 * share).toPrecision(2))} %`;
}

/** A p-value with as many digits as tell something: .037, .0021. */
export function pValue(p) {
  return p >= 0.995 ? p.toFixed(2) : Number(p.toPrecision(2)).toString().replace(/^0/, "");
}

export function headline(verdict, fpr) {
  return verdict.adversarial
    ? `Flagged as adversarial, at ${percent(fpr)} false alarms`
    : `Passes as benign, at ${percent(fpr)} false alarms`;
}

/** The class of that name in the scores. */
export function classOf(scores, label) {
  return scores.classes.find((one) => one.label === label);
}

/**
 * Which benign images a verdict's p-value compares with, and how it comes about, in a sentence.
 *
 * The p-value is (1 + k) / (1 + m), k of the m images being at least as suspicious.
 */
export function origin(verdict, scores) {
  const own = classOf(scores, verdict.label);
  // Among its own class's images p is never below 1 / (1 + m): below that, those of all classes were asked.
  const all = scores.together || !own?.images || verdict.p_value * (own.images + 1) < 1 - 1e-5;
  const m = all ? scores.images : own.images;
  const group = all
    ? `the ${m} benign calibration images of all classes`
    : `the ${m} benign calibration images that the detector takes for “${verdict.label}”`;
  const k = Math.round(verdict.p_value * (m + 1)) - 1;
  return `${k === 0 ? "None" : k} of ${group} ${k < 2 ? "is" : "are"} at least as suspicious: `
    + `p = (1 + ${k}) / (1 + ${m}) = ${pValue(verdict.p_value)}.`;
}

/** What became of an attack. */
export function outcome(found, fpr) {
  const { before, after } = found;
  const wrong = after.label !== found.label;
  const change = `no pixel changed by more than ${Number(found.linf.toPrecision(2))}`;
  if (!wrong && before.label !== found.label) return `The label is right now: “${after.label}”; ${change}.`;
  if (!wrong) return `The attack failed: still read as “${after.label}”; ${change}.`;
  const read = `Read as “${after.label}” instead of “${found.label}”`;
  return after.adversarial
    ? `${read}, and caught: flagged at ${percent(fpr)} false alarms; ${change}.`
    : `${read}, and not flagged: the attack passes the detector; ${change}.`;
}

/** How long ago something was, from seconds. */
export function ago(seconds) {
  if (seconds < 2) return "just now";
  if (seconds < 120) return `${Math.round(seconds)} seconds ago`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} minutes ago`;
  return `${Math.round(seconds / 3600)} hours ago`;
}
