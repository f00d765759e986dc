// Draws the specification that this page holds, with Vega: in the dark with other colours.
"use strict";

const COLORED = /^(background|color|fill|range|stroke)$|Color$/;

function darkened(part, key, colors) { // data stays as it is, whatever it says
  if (typeof part === "string") return COLORED.test(key) ? colors[part] ?? part : part;
  if (part === null || typeof part !== "object" || key === "data") return part;
  if (Array.isArray(part)) return part.map((each) => darkened(each, key, colors));
  return Object.fromEntries(Object.entries(part).map(([name, each]) => [name, darkened(each, name, colors)]));
}

window.addEventListener("DOMContentLoaded", () => {
  const [spec, colors] = ["spec", "dark"].map((name) => JSON.parse(document.getElementById(name).textContent));
  const actions = { export: true, source: false, compiled: false, editor: false };
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const draw = () => {
    const [shown, tooltip] = dark.matches ? [darkened(spec, "", colors), { theme: "dark" }] : [spec, {}];
    window.vegaEmbed("#plot", shown, { mode: "vega-lite", actions, tooltip }).catch((error) => {
      document.getElementById("plot").textContent = `The plot cannot be drawn: ${error.message}`;
    });
  };
  draw();
  dark.addEventListener("change", draw);
});
