// Draws the specification that this page holds, with Vega.
"use strict";
window.addEventListener("DOMContentLoaded", () => {
  const spec = JSON.parse(document.getElementById("spec").textContent);
  const actions = { export: true, source: false, compiled: false, editor: false };
  window.vegaEmbed("#plot", spec, { mode: "vega-lite", actions }).catch((error) => {
    document.getElementById("plot").textContent = `The plot cannot be drawn: ${error.message}`;
  });
});
