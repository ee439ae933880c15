"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const options = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "resetScale2d"]] };

  function draw(place) {
    const figures = data.settings[place];
    for (const element of document.querySelectorAll("[data-figure]")) {
      const figure = figures[element.dataset.figure];
      element.closest("figure").hidden = !figure;
      if (!figure) continue;
      Plotly.react(element, figure.data, Object.assign({}, figure.layout), options);
    }
    for (const words of document.querySelectorAll("[data-setting]")) {
      words.hidden = words.dataset.setting !== String(place);
    }
  }

  function sort(button) {
    const header = button.closest("th");
    const table = header.closest("table");
    const up = header.getAttribute("aria-sort") !== "ascending";
    for (const other of table.querySelectorAll("thead th")) other.setAttribute("aria-sort", "none");
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    const column = Number(button.dataset.column);
    const body = table.tBodies[0];
    const key = (row) => {
      const cell = row.cells[column];
      if (cell.dataset.value === undefined) return cell.textContent;
      return cell.dataset.value === "" ? null : Number(cell.dataset.value);
    };
    const rows = Array.from(body.rows);
    rows.sort((left, right) => {
      const a = key(left), b = key(right);
      if (a === null || b === null) return (a === null) - (b === null);
      const order = typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
      return up ? order : -order;
    });
    body.append(...rows);
  }

  for (const button of document.querySelectorAll("#overview thead button")) {
    button.addEventListener("click", () => sort(button));
  }
  document.getElementById("download").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([data.csv], { type: "text/csv" }));
    link.download = "pimreplay.csv";
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  const menu = document.getElementById("setting");
  if (menu) menu.addEventListener("change", () => draw(Number(menu.value)));
  draw(menu ? Number(menu.value) || 0 : 0);
  document.documentElement.dataset.ready = "true";
})();
