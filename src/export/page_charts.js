"use strict";
// What the charts of all pages share: Chart.js in the page's own colours, by day and at night.
const page = (function () {
  const night = window.matchMedia("(prefers-color-scheme: dark)");
  night.addEventListener("change", () => window.location.reload());
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue("--" + name).trim();

  Chart.defaults.animation = false;
  Chart.defaults.color = colour("ink");
  Chart.defaults.borderColor = colour("grid");
  Chart.defaults.font.size = 13;
  Chart.defaults.scale.ticks.maxRotation = 0;
  Chart.defaults.plugins.legend.labels.boxHeight = 7;
  Chart.defaults.devicePixelRatio = Math.max(2, window.devicePixelRatio || 1);

  return {
    data: JSON.parse(document.getElementById("data").textContent),
    // Okabe and Ito's colours, which people with any kind of colour blindness tell apart, and three more; on black the dark
    // ones are lighter. A series also has a marker of its own, so that the page can be printed in grey.
    colours: night.matches
      ? ["#4aa8e0", "#ff8a4a", "#2fc79a", "#e39ac4", "#ffffff", "#f0b429", "#8fd0f5", "#ff6b81", "#a8a8a8", "#b894ea"]
      : ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9", "#a0001c", "#7f7f7f", "#5b2a86"],
    markers: ["circle", "rect", "triangle", "rectRot", "cross", "star", "crossRot", "rectRounded", "dash", "line"],
    grid: {color: colour("grid")},
    // A title beside an axis is cut off where it is longer than the axis: on a phone what is in brackets is left out.
    beside: (text) => (window.innerWidth < 600 ? text.replace(/ \(.*\)/, "") : text),
  };
})();
