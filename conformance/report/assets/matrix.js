// Several runs side by side: a column each, a row for each case; families fold.
const {runs, cases} = data;
const chosen = new Set();
const closed = new Set();
const SHOWS = {
  differs: (c) => new Set(c.verdicts.map((v) => v ?? "none")).size > 1,
  fails: (c) => c.verdicts.some((v) => v === "fail" || v === "error" || v === "inconclusive"),
  changed: (c) => { const l = c.verdicts; return l.length > 1 && l[l.length - 1] !== l[l.length - 2]; },
};
const LABELS = {differs: "runs differ", fails: "somebody fails", changed: "last column changed"};

for (const r of runs) {
  const strip = el("div", {class: "strip", "aria-hidden": "true"});
  for (const v of VERDICTS) if (r.summary[v]) strip.append(el("span", {class: "v-" + v, style: `flex:${r.summary[v]}`, title: `${r.summary[v]} ${v}`}));
  byId("runs").append(el("div", {class: "run"}, el("b", {}, r.label), el("small", {}, r.target), el("small", {}, `${r.started}, MTU ${r.mtu}, suite ${r.version}`),
    strip, el("span", {}, VERDICTS.filter((v) => r.summary[v]).map((v) => `${r.summary[v]} ${v}`).join(", "))));
}

function fits(c) {
  for (const name of chosen) if (!SHOWS[name](c)) return false;
  const q = byId("search").value.trim().toLowerCase();
  c.text ??= [c.id, c.title, ...c.clauses, ...c.reasons].join("\n").toLowerCase();
  return !q || q.split(/\s+/).every((word) => c.text.includes(word));
}

function cell(c, i) {
  const v = c.verdicts[i];
  const differs = i > 0 && v !== c.verdicts[i - 1];
  if (!v) return el("td", {class: "cell" + (differs ? " diff" : "")}, "not asked");
  const reason = v === "pass" || v === "skip" ? null : el("span", {class: "why"}, c.reasons[i]);
  return el("td", {class: "cell" + (differs ? " diff" : ""), title: c.reasons[i] || v}, badge(v), c.known[i] ? " known" : null, reason);
}

function draw() {
  const table = el("table", {class: "matrix"}, el("thead", {}, el("tr", {}, el("th", {scope: "col"}, "case"), ...runs.map((r) => el("th", {scope: "col"}, r.label)))));
  const families = new Map();
  let shown = 0;
  for (const c of cases.filter(fits)) {
    ++shown;
    if (!families.has(familyOf(c.id))) families.set(familyOf(c.id), []);
    families.get(familyOf(c.id)).push(c);
  }
  for (const [family, list] of families) {
    const sums = runs.map((r, i) => {
      const bad = list.filter((c) => ["fail", "error", "inconclusive"].includes(c.verdicts[i])).length;
      const good = list.filter((c) => ["pass", "info", "warn"].includes(c.verdicts[i])).length;
      return el("th", {}, bad ? badge("fail") : good ? badge("pass") : badge("skip"), ` ${good}/${list.length}`);
    });
    const flip = () => { if (closed.has(family)) closed.delete(family); else closed.add(family); draw(); };
    const head = el("tbody", {class: "family"}, el("tr", {}, el("th", {scope: "rowgroup"},
      el("button", {type: "button", "aria-expanded": String(!closed.has(family)), "data-family": family, onclick: flip}, `${family} (${list.length})`)), ...sums));
    const body = el("tbody");
    if (!closed.has(family)) for (const c of list) {
      body.append(el("tr", {id: c.id}, el("td", {class: "id"}, c.id, el("small", {}, `${c.level} ${c.clauses.join(" ")}`)), ...runs.map((r, i) => cell(c, i))));
    }
    table.append(head, body);
  }
  byId("cases").replaceChildren(el("div", {class: "scroll"}, table));
  byId("shown").textContent = `${shown} of ${cases.length} cases`;
}

toggles(byId("filters"), Object.keys(SHOWS), (n) => [LABELS[n]], chosen, draw);
for (const b of byId("filters").children) b.setAttribute("aria-pressed", "false");
byId("filters").addEventListener("click", () => {
  for (const b of byId("filters").children) b.setAttribute("aria-pressed", String(chosen.has(b.dataset.filter)));
});
byId("search").addEventListener("input", draw);
byId("foot").textContent = `aoe-conformance ${data.version}`;
draw();
addEventListener("hashchange", () => byId(location.hash.slice(1))?.scrollIntoView());
