"use strict";
// What both pages share: elements, the theme, the words of verdicts.
const VERDICTS = ["fail", "error", "inconclusive", "warn", "info", "pass", "unsupported", "skip"];
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

// el("p", {class: "x"}, "text", otherElement): text is always text, never markup.
function el(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) e.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) e.setAttribute(key, value);
  }
  e.append(...children.filter((c) => c !== null && c !== undefined));
  return e;
}
const badge = (verdict) => el("span", {class: "badge v-" + verdict}, verdict);
const familyOf = (id) => id.split(".")[0];

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
}
byId("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme
    ? document.documentElement.dataset.theme === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  setTheme(dark ? "light" : "dark");
});

// A group of toggle buttons; `chosen` is a Set. Nothing chosen means everything.
function toggles(place, names, label, chosen, changed) {
  const buttons = new Map();
  const draw = () => {
    for (const [name, b] of buttons) b.setAttribute("aria-pressed", String(chosen.size === 0 || chosen.has(name)));
  };
  for (const name of names) {
    const b = el("button", {type: "button", class: "v-" + name, "data-filter": name, onclick: () => {
      if (chosen.has(name)) chosen.delete(name); else chosen.add(name);
      draw();
      changed();
    }}, ...label(name));
    buttons.set(name, b);
    place.append(b);
  }
  draw();
  return draw;
}

// "/" goes to the search box, Escape empties it.
document.addEventListener("keydown", (event) => {
  const search = byId("search");
  if (event.key === "/" && document.activeElement !== search) {
    event.preventDefault();
    search.focus();
    search.select();
  } else if (event.key === "Escape" && document.activeElement === search) {
    search.value = "";
    search.dispatchEvent(new Event("input"));
    search.blur();
  }
});
