"use strict";
/* Lists of choices get their fieldset's legend as their accessible name. */
(function () {
  function name() {
    for (const list of document.querySelectorAll("fieldset [role=listbox]:not([aria-labelledby])")) {
      const legend = list.closest("fieldset").querySelector("legend");
      legend.id = legend.id || list.id + "-legend";
      list.setAttribute("aria-labelledby", legend.id);
    }
  }
  new MutationObserver(name).observe(document, { childList: true, subtree: true });
})();
