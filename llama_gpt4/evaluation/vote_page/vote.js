// Keys only: without this file the page works by mouse, touch and tabulator.
"use strict";

const form = document.querySelector("form");
const criteria = form ? [...form.querySelectorAll("fieldset")] : [];
let current = Math.max(0, criteria.findIndex((one) => !one.querySelector(":checked")));

function mark(place) {
  current = Math.min(Math.max(place, 0), criteria.length - 1);
  criteria.forEach((one, n) => one.classList.toggle("current", n === current));
}

function follow(selector) {
  const link = document.querySelector(selector);
  if (link) link.click();
}

const actions = {
  1: () => choose(0),
  2: () => choose(1),
  3: () => choose(2),
  ArrowUp: () => mark(current - 1),
  ArrowDown: () => mark(current + 1),
  ArrowLeft: () => follow("a[rel=prev]"),
  ArrowRight: () => follow("a[rel=next]"),
  Enter: () => form.requestSubmit(),
};

function choose(side) {
  criteria[current].querySelectorAll("input")[side].checked = true;
  mark(current + 1);
}

document.addEventListener("keydown", (event) => {
  const held = event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.repeat;
  // On a link or a button, Enter means that; among choices, arrows choose, as everywhere.
  const taken =
    (event.key === "Enter" && event.target.closest("a, button")) ||
    (event.key.startsWith("Arrow") && event.target.matches("input"));
  if (!form || held || taken || !Object.hasOwn(actions, event.key)) return;
  event.preventDefault();
  actions[event.key]();
});

if (form) {
  form.addEventListener("focusin", (event) => {
    const place = criteria.indexOf(event.target.closest("fieldset"));
    if (place >= 0) mark(place);
  });
  mark(current);
}
