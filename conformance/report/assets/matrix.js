// Several runs side by side: a column each, a row for each case; groups fold: families of cases, or, at a
// click, clauses, each of which is one row until it is opened.
const {runs, cases} = data;
const chosen = new Set();
const flipped = new Set();  // groups that are not as they are at first
let byClause = false;
const isOpen = (group) => flipped.has(group) === byClause;
const number = (n) => n.toLocaleString("en");
const SHOWS = {
  differs: (c) => new Set(c.verdicts.map((v) => v ?? "none")).size > 1,
  fails: (c) => c.verdicts.some((v) => v === "fail" || v === "error" || v === "inconclusive"),
  changed: (c) => { const l = c.verdicts; return l.length > 1 && l[l.length - 1] !== l[l.length - 2]; },
};
const LABELS = {differs: "runs differ", fails: "somebody fails", changed: "last column changed"};

for (const r of runs) {
  const strip = el("div", {class: "strip", "aria-hidden": "true"});
  for (const v of VERDICTS) if (r.summary[v]) strip.append(el("span", {class: "v-" + v, style: `flex:${r.summary[v]}`, title: `${r.summary[v]} ${v}`}));
  byId("runs").append(el("div", {class: "run"}, el("b", {}, r.label), el("small", {}, r.target), el("small", {}, `${r.started.replace("T", " ").replace(/\.\d+Z$/, " UTC")}, MTU ${number(r.mtu)}, suite ${r.version}`),
    strip, el("span", {}, VERDICTS.filter((v) => r.summary[v]).map((v) => `${number(r.summary[v])} ${v}`).join(", "))));
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
  const groups = new Map();
  let shown = 0;
  for (const c of cases.filter(fits)) {
    ++shown;
    for (const group of byClause ? c.clauses : [familyOf(c.id)]) {
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(c);
    }
  }
  const order = byClause ? [...groups.keys()].sort() : [...groups.keys()];
  for (const group of order) {
    const list = groups.get(group);
    const sums = runs.map((r, i) => {
      const of = (...words) => list.filter((c) => words.includes(c.verdicts[i]));
      const bad = of("fail", "error", "inconclusive"), good = of("pass", "info", "warn");
      const word = ["fail", "error", "inconclusive"].find((v) => of(v).length) ?? (good.length ? (of("warn").length ? "warn" : "pass") : "skip");
      return el("th", {title: bad.map((c) => c.id).join("\n") || null}, badge(word), ` ${good.length}/${list.length}`);
    });
    const flip = () => { if (flipped.has(group)) flipped.delete(group); else flipped.add(group); draw(); };
    const head = el("tbody", {class: "family"}, el("tr", {}, el("th", {scope: "rowgroup"},
      el("button", {type: "button", "aria-expanded": String(isOpen(group)), "data-family": group, onclick: flip}, `${group} (${list.length})`)), ...sums));
    const body = el("tbody");
    if (isOpen(group)) for (const c of list) {
      body.append(el("tr", {id: byClause ? null : c.id}, el("td", {class: "id"}, c.id, el("small", {}, `${c.level} ${c.clauses.join(" ")}`)), ...runs.map((r, i) => cell(c, i))));
    }
    table.append(head, body);
  }
  byId("cases").replaceChildren(el("div", {class: "scroll"}, table));
  byId("shown").textContent = `${number(shown)} of ${number(cases.length)} cases${byClause ? `, ${number(groups.size)} clauses` : ""}`;
}

toggles(byId("filters"), Object.keys(SHOWS), (n) => [LABELS[n]], chosen, draw);
for (const b of byId("filters").children) b.setAttribute("aria-pressed", "false");
byId("filters").addEventListener("click", () => {
  for (const b of byId("filters").children) b.setAttribute("aria-pressed", String(chosen.has(b.dataset.filter)));
});
const rows = el("button", {type: "button", id: "rows", "aria-pressed": "false", onclick: () => {
  byClause = !byClause;
  flipped.clear();
  rows.setAttribute("aria-pressed", String(byClause));
  draw();
}}, "a row for each clause");
byId("filters").after(rows);
byId("search").addEventListener("input", draw);
byId("foot").textContent = `aoe-conformance ${data.version}`;
draw();
addEventListener("hashchange", () => byId(location.hash.slice(1))?.scrollIntoView());
