"use strict";
// Without this script the page shows everything; with it tables sort and figures open large.
const order = new Intl.Collator("en", { numeric: true });
const worth = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.value === undefined ? cell.textContent : Number(cell.dataset.value);
};
const less = (a, b, sign) => {
  // what has no number comes last, whichever way the column is sorted
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return sign * (typeof a === "number" ? a - b : order.compare(a, b));
};

for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0], original = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const sort = (column) => {
    const head = heads[column], now = head.getAttribute("aria-sort");
    const next = { none: "ascending", ascending: "descending", descending: "none" }[now];
    heads.forEach((other) => other.setAttribute("aria-sort", other === head ? next : "none"));
    const sign = next === "descending" ? -1 : 1;
    const rows = [...original];
    if (next !== "none") rows.sort((a, b) => less(worth(a, column), worth(b, column), sign));
    body.append(...rows);
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(column));
    head.setAttribute("aria-sort", "none");
    head.append(button);
  });
}

const dialog = document.createElement("dialog"), shut = document.createElement("button");
const large = document.createElement("div"), legend = document.createElement("p");
shut.type = "button";
shut.className = "shut";
shut.textContent = "Close";
large.className = "large";
dialog.append(shut, large, legend);
dialog.addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => large.replaceChildren());
document.body.append(dialog);

for (const figure of document.querySelectorAll("figure")) {
  const image = figure.querySelector(".image"), button = document.createElement("button");
  const caption = figure.querySelector("figcaption");
  button.type = "button";
  button.className = "image";
  button.setAttribute("aria-label", `Enlarge ${caption.querySelector("strong").textContent}`);
  button.append(...image.childNodes);
  button.addEventListener("click", () => {
    large.replaceChildren(button.querySelector("svg").cloneNode(true));
    legend.replaceChildren(...caption.cloneNode(true).childNodes);
    dialog.setAttribute("aria-label", caption.querySelector("strong").textContent);
    dialog.showModal();
  });
  image.replaceWith(button);
}
