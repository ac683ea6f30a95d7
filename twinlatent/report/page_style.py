"""The frame of every page: one file, no scripts, nothing loaded from elsewhere."""

from string import Template

TEMPLATE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #1d2529; --soft: #5c686e; --line: #dde3e5; --page: #f6f8f8; --card: #fff;
  --accent: #0b6474; --good: #14693a; --warn: #8a5a00; --bad: #a3271b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e3e8ea; --soft: #9fabb0; --line: #333d42; --page: #14191c; --card: #1c2327; --accent: #6cc3d2;
    --good: #7ccf9b; --warn: #e0b45c; --bad: #f2958a; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 2.5rem 1.1rem 4rem; }
h1 { font-size: clamp(1.6rem, 5vw, 2.4rem); line-height: 1.15; letter-spacing: -.015em; margin: .2rem 0 .8rem;
  text-wrap: balance; }
h2 { font-size: 1.3rem; letter-spacing: -.01em; margin: 3rem 0 .9rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .6rem; }
p { max-width: 46rem; margin: 0 0 .9rem; }
code { font: .88em/1.5 ui-monospace, "Cascadia Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
small, .note, figcaption, caption, dt { color: var(--soft); }
.note, figcaption { font-size: .88rem; line-height: 1.5; }
.eyebrow { color: var(--accent); font-weight: 600; font-size: .85rem; margin: 0; }
.lead { font-size: 1.12rem; }
.tiles { list-style: none; display: grid; gap: .8rem; padding: 0; margin: 1.6rem 0 0;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 11rem), 1fr)); }
.tiles li, .cards li, dl, .scroll, details { background: var(--card); border: 1px solid var(--line);
  border-radius: .7rem; }
.tiles li { padding: .9rem 1.1rem; }
.tiles b { display: block; font-size: 1.55rem; line-height: 1.3; font-weight: 650; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; color: var(--accent); white-space: nowrap; }
.tiles span { color: var(--soft); font-size: .88rem; line-height: 1.4; display: block; }
.tiles small { display: block; font-size: .82rem; font-variant-numeric: tabular-nums; margin: -.1rem 0 .3rem; }
.findings { list-style: none; padding: 0; margin: .6rem 0 0; }
.findings li { background: var(--card); border: 1px solid var(--line); border-left: .3rem solid var(--warn);
  border-radius: .4rem; padding: .5rem .9rem; margin: .5rem 0; }
.findings .fail { border-left-color: var(--bad); }
.checked { margin: 1.4rem 0 0; }
.status { font-weight: 650; }
.pass .status, .status.pass { color: var(--good); }
.warn .status, .status.warn { color: var(--warn); }
.fail .status, .status.fail { color: var(--bad); }
nav { margin: 1.8rem 0 0; font-size: .92rem; line-height: 2; }
nav a { color: var(--accent); margin-right: 1.1rem; white-space: nowrap; }
dl { margin: 0; padding: .35rem 1.1rem; }
dl div { display: grid; grid-template-columns: minmax(8rem, 13rem) 1fr; gap: .2rem 1.2rem; padding: .5rem 0; }
dl div + div { border-top: 1px solid var(--line); }
dd { margin: 0; overflow-wrap: anywhere; }
details { margin-top: .8rem; }
details dl { border: 0; border-top: 1px solid var(--line); border-radius: 0; background: none; font-size: .92rem; }
summary { cursor: pointer; padding: .75rem 1.1rem; font-weight: 600; }
.scroll { overflow-x: auto; margin: 0 0 .9rem; background:
  linear-gradient(90deg, var(--card) 40%, transparent) left / 2.5rem 100% no-repeat local,
  linear-gradient(270deg, var(--card) 40%, transparent) right / 2.5rem 100% no-repeat local,
  linear-gradient(90deg, var(--line), transparent) left / .8rem 100% no-repeat scroll,
  linear-gradient(270deg, var(--line), transparent) right / .8rem 100% no-repeat scroll, var(--card); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .75rem 1.1rem .1rem; font-size: .88rem; font-weight: 600; }
th, td { padding: .55rem .7rem; text-align: right; white-space: nowrap; }
thead th { font-size: .82rem; line-height: 1.3; font-weight: 600; color: var(--soft); white-space: normal;
  min-width: 4.6rem; vertical-align: bottom; }
tbody tr { border-top: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: 1.1rem; }
tbody th { font-weight: 600; white-space: normal; min-width: 7rem; line-height: 1.35; }
.attacks tbody th { white-space: nowrap; min-width: 0; }
.attacks td, .attacks tbody th { vertical-align: top; }
.attacks td small { display: block; line-height: 1.3; }
.ranked tbody tr:first-child { background: color-mix(in srgb, var(--accent) 9%, transparent); }
.words td, .words thead th { text-align: left; white-space: normal; }
.words td:last-child { min-width: 16rem; }
th:last-child, td:last-child { padding-right: 1.1rem; }
.pair { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
figure { margin: 0 0 1rem; max-width: 34rem; }
figure.wide { max-width: none; margin-bottom: 1.2rem; }
.wide .plot { overflow-x: auto; }
.wide .plot svg { width: auto; max-width: none; margin: 0 auto; }
.plot { background: #fff; border: 1px solid var(--line); border-radius: .7rem; padding: .8rem; }
.plot svg { display: block; width: 100%; height: auto; }
figcaption { margin-top: .6rem; }
@media (min-width: 56rem) {
  figure.side { max-width: none; display: grid; grid-template-columns: 32rem 1fr; gap: 1.6rem; align-items: start; }
}
.cards { list-style: none; padding: 0; margin: 0; display: grid; gap: .9rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
.cards li { padding: .8rem 1rem; }
.cards h3 { margin: 0 0 .6rem; display: flex; justify-content: space-between; gap: .6rem; }
.cards h3 span { font-size: .85rem; color: var(--soft); }
.cards h3 .caught { color: var(--good); }
.cards h3 .missed { color: var(--bad); }
.trio { display: grid; grid-template-columns: repeat(3, 1fr); gap: .6rem; }
.trio div { min-width: 0; }
.trio span { color: var(--soft); font-size: .8rem; }
.trio p { font-size: .82rem; line-height: 1.4; margin: .35rem 0 0; overflow-wrap: anywhere; }
.trio img { display: block; width: 100%; height: auto; image-rendering: pixelated; border-radius: .25rem;
  border: 1px solid var(--line); }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 1rem; }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media (max-width: 34rem) {
  dl div { grid-template-columns: 1fr; gap: 0; }
  dt { font-size: .85rem; }
  .plot { padding: .4rem; }
  .tiles { grid-template-columns: 1fr 1fr; }
  .tiles li { padding: .8rem .9rem; }
  .tiles b { font-size: 1.2rem; }
  .plain td small { display: block; }
}
@media print { body { background: none; } figure, .cards li, .scroll { break-inside: avoid; } }
</style>
</head>
<body>
<main>
<header>
<p class=eyebrow>$eyebrow</p>
<h1>$title</h1>
<p class=lead>$lead</p>
$summary
</header>
<nav aria-label="On this page">$contents</nav>
$sections
<footer><p class=note>Made by twinlatent from $source alone. Method: B. Joe, S. J. Hwang, I. Shin,
<cite>Learning to Disentangle Robust and Vulnerable Features for Adversarial Detection</cite>, arXiv 1909.04311.</p>
</footer>
</main>
</body>
</html>
""")
