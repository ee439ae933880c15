"use strict";
/* Once the page is there: lists of choices get their fieldset's legend as accessible name, and a
   narrow page starts with its filters folded, so that the figures come first. The inspector's text
   opens at its first marked token. */
(function () {
  let folded = false;
  function arrange() {
    for (const list of document.querySelectorAll("fieldset [role=listbox]:not([aria-labelledby])")) {
      const legend = list.closest("fieldset").querySelector("legend");
      legend.id = legend.id || list.id + "-legend";
      list.setAttribute("aria-labelledby", legend.id);
    }
    for (const text of document.querySelectorAll(".tokens")) {
      const first = text.querySelector("mark.selected");
      if (!first || text.opensAt === first) continue;
      text.opensAt = first;
      text.scrollTop = first.offsetTop - text.offsetTop - 24;
    }
    const filters = document.querySelector("details.controls");
    if (filters && !folded) {
      folded = true;
      if (window.innerWidth <= 800) filters.open = false;
    }
  }
  new MutationObserver(arrange).observe(document, { childList: true, subtree: true });
})();
