"use strict";
/* A click on a figure chooses what the mark stands for: it writes the controls' values into the
   address, as the controls do. Where they are all chosen already, it lets go of them. */
(function () {
  const FILTERS = ["methods", "layers", "heads", "budget", "hardware"];

  function picked(point) {
    const meta = point.data.meta || {};
    const found = Object.assign({}, meta.pick, point.customdata);
    for (const axis of ["x", "y"]) {
      for (const key of meta[axis] || []) found[key] = point[axis];
    }
    return found;
  }

  function pick(event) {
    const found = picked(event.points[0]);
    const initial = window.dash_clientside.pimreplay.initial;
    const query = new URLSearchParams(window.location.search);
    const chosen = (key) => (query.has(key) ? query.getAll(key).join() : String(initial[key]));
    const filters = Object.keys(found).filter((key) => FILTERS.includes(key));
    const letGo = filters.length > 0 && filters.every((key) => chosen(key) === String(found[key]));
    for (const [key, value] of Object.entries(found)) {
      query.delete(key);
      const kept = !(letGo && FILTERS.includes(key)) && String(value) !== String(initial[key]);
      if (kept) query.set(key, value);
    }
    const text = query.toString();
    window.dash_clientside.set_props("url", { search: text ? "?" + text : "" });
  }

  function listen() {
    for (const plot of document.querySelectorAll("#content .js-plotly-plot")) {
      if (!plot.on || plot.picksWith === plot.on) continue;
      plot.picksWith = plot.on;
      plot.on("plotly_click", pick);
    }
  }
  new MutationObserver(listen).observe(document, { childList: true, subtree: true });
})();
