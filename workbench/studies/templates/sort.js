// Tables sort by a click on a header, and by the address: #sort=TABLE:COLUMN:asc or :desc,
// with more of them after an &.
(() => {
  "use strict";
  const ORDERS = { asc: "ascending", desc: "descending" };
  const words = new Intl.Collator(undefined, { numeric: true });
  const state = new Map();

  const content = (row, place) => row.cells[place].dataset.value ?? row.cells[place].textContent.trim();

  function compare(a, b, sign) {
    if (a === "" || b === "") return (a === "") - (b === ""); // what is missing comes last
    const order = a - b;
    return sign * (Number.isNaN(order) ? words.compare(a, b) : order);
  }

  function sort(table, column, order) {
    const headers = [...table.tHead.rows[0].cells];
    const place = headers.findIndex((header) => header.dataset.column === column);
    if (place < 0 || !(order in ORDERS)) return;
    const sign = order === "asc" ? 1 : -1;
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [content(row, place), row]);
    rows.sort((a, b) => compare(a[0], b[0], sign));
    body.append(...rows.map(([, row]) => row));
    headers.forEach((header, at) => {
      if (header.dataset.column) header.setAttribute("aria-sort", at === place ? ORDERS[order] : "none");
    });
    state.set(table.id, [column, order]);
  }

  function follow() {
    for (const part of location.hash.slice(1).split("&")) {
      if (!part.startsWith("sort=")) continue;
      const [name, ...rest] = decodeURIComponent(part.slice(5)).split(":");
      const order = rest.length > 1 && rest.at(-1) in ORDERS ? rest.pop() : "asc";
      const table = document.getElementById(name);
      if (table instanceof HTMLTableElement) sort(table, rest.join(":"), order);
    }
  }

  function click(header) {
    const table = header.closest("table");
    const first = header.classList.contains("text") ? "asc" : "desc";
    const second = first === "asc" ? "desc" : "asc";
    const again = header.getAttribute("aria-sort") === ORDERS[first];
    sort(table, header.dataset.column, again ? second : first);
    const parts = [...state].map(([name, rest]) => "sort=" + encodeURI([name, ...rest].join(":")));
    history.replaceState(null, "", "#" + parts.join("&"));
  }

  for (const header of document.querySelectorAll("th[data-column]")) {
    const button = document.createElement("button");
    button.append(...header.childNodes);
    header.append(button);
    header.setAttribute("aria-sort", header.getAttribute("aria-sort") ?? "none");
    button.addEventListener("click", () => click(header));
  }
  window.addEventListener("hashchange", follow);
  follow();
})();
