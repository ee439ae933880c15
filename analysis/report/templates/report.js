"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const options = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "resetScale2d"]] };

  const setting = document.getElementById("setting");
  const cost = document.getElementById("cost");
  const chosen = () => (cost ? cost.value : "");

  function draw() {
    const place = setting ? setting.value || "0" : "0";
    const names = data.settings[place][chosen()];
    if (cost) document.documentElement.dataset.cost = chosen();
    for (const element of document.querySelectorAll("[data-figure]")) {
      const figure = data.drawings[names[element.dataset.figure]];
      element.closest("figure").hidden = !figure;
      if (!figure) continue;
      const copy = structuredClone(figure); /* Plotly writes into what it draws */
      Plotly.react(element, copy.data, copy.layout, options);
    }
    for (const words of document.querySelectorAll("[data-setting]")) {
      words.hidden = words.dataset.setting !== place || words.dataset.charge !== chosen();
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
    link.href = URL.createObjectURL(new Blob([data.csv[chosen()]], { type: "text/csv" }));
    link.download = "pimreplay.csv";
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  for (const menu of [setting, cost]) if (menu) menu.addEventListener("change", draw);
  draw();
  document.documentElement.dataset.ready = "true";
})();
