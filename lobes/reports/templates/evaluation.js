// The page is whole without this: it sorts and filters rows.
const status_line = document.getElementById("status");
const first_number = /-?\d+(\.\d+)?/;

function key(row, column, numeric) {
  const text = row.cells[column].textContent.trim();
  if (!numeric) return text;
  const found = first_number.exec(text);
  return found ? parseFloat(found[0]) : NaN;
}

function compare(one, other, sign) {
  if (typeof one === "string") return sign * one.localeCompare(other, "en", { numeric: true });
  if (Number.isNaN(one) || Number.isNaN(other)) return Number.isNaN(one) - Number.isNaN(other); // what is missing is last
  return sign * (one - other);
}

function sort(table, head) {
  const numeric = head.classList.contains("number");
  const before = head.getAttribute("aria-sort");
  const descending = before ? before === "ascending" : numeric;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => [key(row, head.cellIndex, numeric), row]);
  rows.sort((one, other) => compare(one[0], other[0], descending ? -1 : 1));
  body.append(...rows.map(([, row]) => row));
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  status_line.textContent = `Sorted by ${head.firstChild.firstChild.textContent}, ${head.getAttribute("aria-sort")}.`;
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  if (table.tBodies[0].rows.length < 2) continue;
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    const arrow = document.createElement("span");
    arrow.className = "arrow";
    button.append(...head.childNodes);
    button.firstChild.after(arrow);
    button.addEventListener("click", () => sort(table, head));
    head.append(button);
  }
}

const filter = document.getElementById("filter");
const lines = Array.from(document.querySelectorAll("#all-utterances tbody tr"), (row) => [row, row.textContent.toLowerCase()]);
filter.closest("p").hidden = false;
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/);
  let shown = 0;
  for (const [row, text] of lines) {
    row.hidden = !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  document.querySelector("output").textContent = `${shown} of ${lines.length} rows`;
});
