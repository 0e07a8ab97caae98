// One run: verdict, facts, families as a map, cases with their frames. A case's inside is built when
// it is opened, so that a run of many cases is quick.
const cases = data.cases;
const chosen = new Set();
const rows = new Map();   // id -> element
const cells = new Map();  // id -> its square in the map
const MOST = 250;         // rows drawn at once
let limit = MOST;

function facts() {
  const t = data.target;
  const list = byId("facts");
  const add = (name, value, all) => {
    if (value !== "" && value !== null && value !== undefined)
      list.append(el("div", {class: all ? "all" : null}, el("dt", {}, name), el("dd", {}, String(value))));
  };
  byId("heading").textContent = t ? `Target ${t.shelf}.${t.slot}` + (t.model ? ` (${t.model})` : "") : "No target";
  document.title = `${byId("heading").textContent}: ${data.verdict}`;
  const v = byId("verdict");
  v.textContent = data.verdict;
  v.classList.add(data.exit_code === 0 ? "good" : data.exit_code === 1 || data.exit_code === 5 ? "bad" : "doubt");
  if (t) {
    add("address", `${t.mac} on ${data.port.name}, MTU ${data.port.mtu}`);
    add("disk", `${t.sectors} sectors`);
    add("firmware", `0x${t.firmware.toString(16).padStart(4, "0")}, revision ${t.revision}`);
    add("serial", t.serial);
    add("AoE", `version ${t.aoe_version}, ${t.buffer_count} buffers, sector count ${t.sector_count}`);
    add("extensions", t.extensions.length ? t.extensions.join(" ") + ` (${t.extension_length_order}-endian)` : "none");
  } else {
    add("link", `${data.port.name}, MTU ${data.port.mtu}`);
  }
  add("run", `${data.started}, ${(data.duration_ms / 1000).toFixed(2)} s`);
  add("frames", `${data.link.frames_sent} sent, ${data.link.repeats} repeated, round trip ${Math.round(data.link.rtt_us)} us`);
  if (data.trouble) add("not complete", data.trouble, true);
  if (data.target_said) add("the target said", data.target_said, true);
  for (const s of data.baseline.surprises) add("baseline", s, true);
  byId("foot").append(`aoe-conformance ${data.version}. `, el("code", {}, data.command));
}

function drawMap() {
  const families = new Map();
  for (const c of cases) {
    if (!families.has(familyOf(c.id))) families.set(familyOf(c.id), []);
    families.get(familyOf(c.id)).push(c);
  }
  for (const [family, list] of families) {
    const place = el("div", {class: "cells"});
    for (const c of list) {
      const a = el("a", {href: "#" + c.id, class: "v-" + c.verdict, title: `${c.verdict}: ${c.id}`, "aria-label": `${c.id}: ${c.verdict}`,
        tabindex: ["fail", "error", "inconclusive", "warn"].includes(c.verdict) ? 0 : -1});
      cells.set(c.id, a);
      place.append(a);
    }
    const bad = list.filter((c) => c.verdict === "fail").length;
    byId("map").append(el("div", {class: "name"}, `${family} (${list.length}${bad ? `, ${bad} failed` : ""})`), place);
  }
}

function drawCauses() {
  const groups = new Map();
  for (const c of cases) {
    if (!["fail", "error", "inconclusive"].includes(c.verdict)) continue;
    const first = c.same_as || c.id;
    if (!groups.has(first)) groups.set(first, []);
    groups.get(first).push(c);
  }
  const several = [...groups.values()].filter((list) => list.length > 1).sort((a, b) => b.length - a.length);
  if (several.length) byId("causes").append(el("h2", {}, "Failures with one cause"));
  for (const list of several) {
    byId("causes").append(el("details", {class: "cause v-" + list[0].verdict},
      el("summary", {}, badge(list[0].verdict), ` ${list.length} cases: ${list[0].reason}`),
      el("ul", {}, ...list.map((c) => el("li", {}, el("a", {href: "#" + c.id}, c.id))))));
  }
}

// -- frames

function hexLines(frame) {
  const bytes = frame.hex.match(/../g) || [];
  const marks = (i) => (frame.marks || []).some(([at, n]) => i >= at && i < at + n);
  const pre = el("pre", {class: "hex"});
  for (let line = 0; line < bytes.length; line += 16) {
    pre.append(el("i", {}, line.toString(16).padStart(4, "0") + "  "));
    for (let i = line; i < Math.min(line + 16, bytes.length); ++i) {
      pre.append(el("b", {"data-at": i, class: marks(i) ? "marked" : null}, bytes[i]), i % 16 === 7 ? "  " : " ");
    }
    const missing = Math.max(0, line + 16 - bytes.length);
    pre.append("   ".repeat(missing) + (missing > 8 ? " " : ""), " ");
    pre.append(bytes.slice(line, line + 16).map((b) => {
      const code = parseInt(b, 16);
      return code >= 32 && code < 127 ? String.fromCharCode(code) : ".";
    }).join(""), "\n");
  }
  if (frame.size > bytes.length) pre.append(el("i", {}, `... ${frame.size - bytes.length} more bytes, in the capture`));
  return pre;
}

// Fields beside bytes; pointing at one shows the other.
function drawFrame(frame) {
  const pre = hexLines(frame);
  const table = el("table");
  for (const [at, size, name, value, marked] of frame.fields || []) {
    table.append(el("tr", {class: marked ? "marked" : null, "data-at": at, "data-size": size},
      el("td", {}, String(at)), el("td", {class: "mono"}, name), el("td", {class: "mono"}, value)));
  }
  const light = (from, to) => {
    for (const b of pre.querySelectorAll("b")) b.classList.toggle("on", +b.dataset.at >= from && +b.dataset.at < to);
    for (const r of table.rows) r.classList.toggle("on", +r.dataset.at < to && +r.dataset.at + +r.dataset.size > from);
  };
  table.addEventListener("mouseover", (e) => {
    const r = e.target.closest("tr");
    if (r) light(+r.dataset.at, +r.dataset.at + +r.dataset.size);
  });
  pre.addEventListener("mouseover", (e) => {
    if (e.target.dataset.at !== undefined) light(+e.target.dataset.at, +e.target.dataset.at + 1);
  });
  const role = frame.role === "stray" ? "came instead" : frame.role;
  return el("div", {class: "frame"},
    el("header", {}, el("span", {class: "role"}, role), el("span", {}, `${frame.size} bytes`),
      frame.sent > 1 ? el("span", {}, `sent ${frame.sent} times`) : null, el("span", {}, frame.summary)),
    el("div", {class: "cols"}, table, pre));
}

const microseconds = (us) => us === null ? "" : Math.abs(us) < 10000 ? `${us.toFixed(0)} us` : `${(us / 1000).toFixed(1)} ms`;

function drawFlow(c) {
  const list = el("ol", {class: "flow"});
  for (const f of c.frames) {
    const button = el("button", {type: "button", class: f.role, "aria-expanded": "false", onclick: () => {
      const open = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!open));
      if (open) button.nextSibling.remove(); else button.after(drawFrame(f));
    }}, el("span", {title: f.direction === "out" ? "to the target" : "from the target"}, f.direction === "out" ? "\u2192" : "\u2190"),
      el("span", {class: "t mono"}, microseconds(f.at_us)), el("span", {class: "r"}, f.role), el("span", {class: "s"}, f.summary));
    list.append(el("li", {}, button));
  }
  return list;
}

// -- cases

function drawBody(c) {
  const body = el("div", {class: "body v-" + c.verdict});
  if (c.title) body.append(el("p", {}, c.title));
  const pair = el("dl", {class: "pair"});
  const add = (place, name, value, cls) => {
    if (value) place.append(el("dt", {}, name), el("dd", {class: cls || null}, value));
  };
  for (const id of c.clauses) {
    const k = data.clauses[id];
    add(pair, "clause", k ? `${id} (${k.document}, ${k.section}, ${k.level}): ${k.text}` : id);
  }
  if (c.known) add(pair, "known", c.known);
  if (c.started) add(pair, "began", `${c.started}, ${c.duration_ms.toFixed(3)} ms`);
  if (c.capture) add(pair, "capture", el("a", {href: "captures/" + c.capture.split("/").pop()}, c.capture));
  body.append(pair);
  for (const f of c.findings) {
    body.append(el("h3", {}, badge(f.verdict), " " + f.headline));
    const what = el("dl", {class: "pair"});
    if (f.clause && !c.clauses.includes(f.clause)) {
      const k = data.clauses[f.clause];
      add(what, "clause", f.clause + (k ? `: ${k.text}` : ""));
    }
    add(what, "asked", f.asked);
    add(what, "expected", f.expected);
    add(what, "got", f.got, "got");
    if (what.children.length) body.append(what);
    for (const frame of [...f.frames].reverse()) body.append(drawFrame(frame));
  }
  if (c.target_said) body.append(el("h3", {}, "The target said"), el("pre", {class: "said mono"}, c.target_said));
  if (c.frames.length) {
    const more = c.frames_omitted ? `, ${c.frames_omitted} more in the capture` : "";
    body.append(el("details", {}, el("summary", {}, `Frames of the case (${c.frames.length}${more})`), drawFlow(c)));
  }
  if (c.repeat) {
    const code = el("code", {}, c.repeat);
    body.append(el("h3", {}, "Repeat"), el("div", {class: "repeat"}, code, el("button", {type: "button", onclick: () => {
      if (navigator.clipboard && isSecureContext) navigator.clipboard.writeText(c.repeat);
      else getSelection().selectAllChildren(code);
    }}, "copy")));
  }
  return body;
}

function open(id, on) {
  const row = rows.get(id);
  if (!row) return;
  const button = row.firstChild;
  const is = button.getAttribute("aria-expanded") === "true";
  if (is === on) return;
  button.setAttribute("aria-expanded", String(on));
  if (on) row.append(drawBody(cases.find((c) => c.id === id))); else row.lastChild.remove();
}

function drawRow(c) {
  const row = el("article", {class: "case v-" + c.verdict, id: c.id});
  row.append(el("button", {type: "button", "aria-expanded": "false", onclick: () => {
    const now = row.firstChild.getAttribute("aria-expanded") !== "true";
    open(c.id, now);
    if (now) history.replaceState(null, "", "#" + c.id);
  }}, badge(c.verdict), el("span", {class: "id"}, c.id), el("span", {class: "lvl"}, c.level),
    el("span", {class: "why"}, c.reason || c.title)));
  rows.set(c.id, row);
  return row;
}

function fits(c) {
  if (chosen.size && !chosen.has(c.verdict)) return false;
  const q = byId("search").value.trim().toLowerCase();
  if (!q) return true;
  c.text ??= [c.id, c.title, c.reason, c.known, ...c.clauses, ...c.findings.map((f) => `${f.headline} ${f.expected} ${f.got}`)].join("\n").toLowerCase();
  return q.split(/\s+/).every((word) => c.text.includes(word));
}

function draw() {
  const main = byId("cases");
  const shown = cases.filter(fits);
  rows.clear();
  const order = (c) => VERDICTS.indexOf(c.verdict);
  const sorted = [...shown].sort((a, b) => order(a) - order(b));  // stable: the suite's order within
  const list = sorted.slice(0, limit).map(drawRow);
  if (!list.length) list.push(el("p", {class: "empty"}, "No case fits. Escape empties the search."));
  if (shown.length > limit)
    list.push(el("button", {type: "button", class: "more", onclick: () => { limit = Infinity; draw(); }}, `show ${shown.length - limit} more`));
  main.replaceChildren(...list);
  const fit = new Set(shown.map((c) => c.id));
  for (const [id, a] of cells) a.classList.toggle("off", !fit.has(id));
  byId("shown").textContent = `${shown.length} of ${cases.length} cases`;
}

// A link to a case opens it, whatever is filtered out at the moment.
function follow() {
  const id = decodeURIComponent(location.hash.slice(1));
  if (!cases.some((c) => c.id === id)) return;
  if (!rows.has(id)) {
    chosen.clear();
    drawFilters();
    byId("search").value = "";
    limit = Infinity;
    draw();
  }
  open(id, true);
  rows.get(id).scrollIntoView();
  rows.get(id).firstChild.focus({preventScroll: true});
}

facts();
drawMap();
drawCauses();
const drawFilters = toggles(byId("filters"), VERDICTS.filter((v) => data.summary[v]),
  (v) => [el("span", {class: "dot"}), `${v} ${data.summary[v]}`], chosen, () => { limit = MOST; draw(); });
byId("search").addEventListener("input", () => { limit = MOST; draw(); });
addEventListener("hashchange", follow);
addEventListener("beforeprint", () => {
  limit = Infinity;
  draw();
  for (const c of cases) if (["fail", "error", "inconclusive", "warn"].includes(c.verdict)) open(c.id, true);
});
// j and k walk through the rows.
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key !== "j" && event.key !== "k") return;
  const buttons = [...document.querySelectorAll(".case > button")];
  const at = buttons.indexOf(document.activeElement.closest(".case")?.firstChild);
  const next = buttons[Math.min(buttons.length - 1, Math.max(0, at + (event.key === "j" ? 1 : -1)))];
  next?.focus();
});
draw();
follow();
