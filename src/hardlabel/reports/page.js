// Tables that sort and filter, values under the pointer, folded sections that open. The page reads without all of it.
(() => {
  "use strict";
  const FEWEST_TO_SORT = 3, FEWEST_TO_FILTER = 10;

  const made = (name, attributes, text) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // Sorting: by data-value where a cell has it, else by the number that its text begins with, else by its text.
  const exact = cell => {
    const holder = cell.hasAttribute("data-value") ? cell : cell.querySelector(":scope > [data-value]");
    const text = holder ? holder.getAttribute("data-value") : cell.textContent.trim();
    const plain = text.replace(/[,\u00a0]/g, "").replace(/^\u2212/, "-").replace(/^[<>]/, "");
    const number = /^[+-]?(\d|\.\d)/.test(plain) ? parseFloat(plain) : NaN;
    return { text: cell.textContent.trim(), number, empty: text === "" };
  };
  const order = (index, down) => (first, second) => {
    const [a, b] = [exact(first.cells[index]), exact(second.cells[index])];
    if (a.empty !== b.empty) return a.empty ? 1 : -1;
    const both = !Number.isNaN(a.number) && !Number.isNaN(b.number);
    const by = both ? a.number - b.number : a.text.localeCompare(b.text);
    return down ? -by : by;
  };
  const rowsOf = body => [...body.rows].filter(row => !row.classList.contains("group"));
  const sort = (table, heading) => {
    const down = heading.getAttribute("aria-sort") !== "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    for (const body of table.tBodies) body.append(...rowsOf(body).sort(order(heading.cellIndex, down)));
  };

  const filter = (table, box) => {
    const wanted = box.value.trim().toLowerCase();
    let shown = 0, all = 0;
    for (const body of table.tBodies) for (const row of rowsOf(body)) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      shown += !row.hidden;
      all += 1;
    }
    box.parentElement.nextElementSibling.textContent = wanted ? `${shown} of ${all} rows` : "";
  };

  for (const table of document.querySelectorAll("main table")) {
    if (!table.tHead || table.tHead.rows.length !== 1) continue;
    const rows = [...table.tBodies].flatMap(rowsOf), width = table.tHead.rows[0].cells.length;
    if (rows.length < FEWEST_TO_SORT || rows.some(row => row.cells.length !== width)) continue;
    for (const heading of table.tHead.rows[0].cells) {
      if (!heading.textContent.trim()) continue;
      const button = made("button", { type: "button", class: "sort", title: "Sort by this column" }, "");
      const words = heading.querySelector("a");
      // A heading that links to the glossary keeps its link; the button stands beside it.
      if (words) button.setAttribute("aria-label", `Sort by ${heading.textContent.trim()}`);
      else button.append(...heading.childNodes);
      button.addEventListener("click", () => sort(table, heading));
      heading.append(button);
    }
    if (rows.length < FEWEST_TO_FILTER) continue;
    const bar = made("p", { class: "filter" }), label = made("label", {}, "Filter rows ");
    const box = made("input", { type: "search", autocomplete: "off" });
    label.append(box);
    bar.append(label, made("span", { role: "status" }));
    box.addEventListener("input", () => filter(table, box));
    (table.closest(".scroll") || table).before(bar);
  }

  // Values: the titles of marks, shown at once and where the pointer is.
  const tip = made("div", { class: "tip", "aria-hidden": "true" });
  tip.hidden = true;
  document.body.append(tip);
  for (const title of document.querySelectorAll("figure svg title, .strip title")) {
    const mark = title.parentElement, words = title.textContent;
    title.remove();
    mark.addEventListener("pointermove", event => {
      tip.textContent = words;
      tip.hidden = false;
      const left = Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8);
      const top = event.clientY + 16 + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : event.clientY + 16;
      tip.style.left = `${Math.max(left, 4)}px`;
      tip.style.top = `${top}px`;
    });
    mark.addEventListener("pointerleave", () => { tip.hidden = true; });
  }

  // Folded sections: a link into one opens it, and paper shows them all.
  const reveal = () => {
    let target;
    try { target = document.getElementById(decodeURIComponent(location.hash.slice(1))); } catch { return; }
    if (!target) return;
    for (let part = target; part; part = part.parentElement) if (part.localName === "details") part.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")].filter(part => !part.closest("figure"));
    for (const part of folded) part.open = true;
  });
  addEventListener("afterprint", () => { for (const part of folded) part.open = false; });
})();
