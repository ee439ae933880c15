"use strict";
window.dash_clientside = window.dash_clientside || {};
window.dash_clientside.pimreplay = {
  /* The address is the state. A control writes the query; an address sets the controls. */
  sync: function (search, ...rest) {
    const initial = rest.pop();
    window.dash_clientside.pimreplay.initial = initial;
    const keys = Object.keys(initial);
    const nothing = window.dash_clientside.no_update;
    const triggered = window.dash_clientside.callback_context.triggered.map((one) => one.prop_id);
    const byControl = triggered.length > 0 && !triggered.includes("url.search");
    if (!byControl) {
      const query = new URLSearchParams(search || "");
      const values = keys.map((key) => {
        if (!query.has(key)) return initial[key];
        if (Array.isArray(initial[key])) return query.getAll(key);
        const text = query.get(key);
        const number = ["first", "last", "layer", "kv_head", "q_head", "step"].includes(key);
        return number && text !== "" ? Number(text) : text;
      });
      return [nothing, ...values];
    }
    const query = new URLSearchParams();
    keys.forEach((key, place) => {
      const value = rest[place];
      if (value === null || value === undefined || value === "") return;
      if (Array.isArray(value)) value.forEach((one) => query.append(key, one));
      else if (String(value) !== String(initial[key])) query.set(key, value);
    });
    const text = query.toString();
    const wanted = text ? "?" + text : "";
    return [wanted === (search || "") ? nothing : wanted, ...keys.map(() => nothing)];
  },
};
