"use strict";
(function () {
  const data = JSON.parse(document.getElementById("steps").textContent);
  const model = document.getElementById("lookup-model");
  const field = document.getElementById("lookup-context");
  const body = document.getElementById("lookup").tBodies[0];

  function rowsAt(series, step) {
    return series.rows ? series.rows[step] : Math.ceil((data.first + step) / data.row);
  }

  function cyclesAt(series, step) {
    return series.cycles ? series.cycles[step] : data.cycles[rowsAt(series, step)];
  }

  function look() {
    body.textContent = "";
    const step = Number(field.value) - data.first;
    for (const series of data.series) {
      if (series.model !== model.value) continue;
      const known = Number.isInteger(step) && step >= 0 && step < series.steps;
      const cycles = known ? cyclesAt(series, step) : null;
      const texts = known
        ? [rowsAt(series, step), cycles, (cycles * data.clock / 1000).toFixed(3)]
        : ["\u2013", "\u2013", "\u2013"];
      const row = body.insertRow();
      const head = document.createElement("th");
      head.scope = "row";
      head.textContent = series.method;
      row.append(head);
      for (const text of texts) {
        const cell = row.insertCell();
        cell.className = "number";
        cell.textContent = text.toLocaleString("en");
      }
    }
  }

  function download() {
    const lines = ["model,method,step,context_tokens,block_rows,cycles,latency_ns"];
    for (const series of data.series) {
      for (let step = 0; step < series.steps; step += 1) {
        const cycles = cyclesAt(series, step);
        lines.push([series.model, series.method, step, data.first + step,
          rowsAt(series, step), cycles, (cycles * data.clock).toFixed(3)].join(","));
      }
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
    link.download = "starc_steps.csv";
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  model.addEventListener("change", look);
  field.addEventListener("input", look);
  document.getElementById("download-steps").addEventListener("click", download);
  look();
})();
