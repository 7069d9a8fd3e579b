"use strict";
// Hands the numbers of the page to Chart.js: one scatter chart a device's family of kernels.
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  // Okabe and Ito's colours, which people with any kind of colour blindness tell apart on white; a type also has a marker
  // of its own, so that the page can be printed in grey.
  const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9"];
  const markers = ["circle", "rect", "triangle", "rectRot", "cross", "star", "crossRot"];

  Chart.defaults.animation = false;
  Chart.defaults.color = "#111";
  Chart.defaults.font.size = 13;
  Chart.defaults.devicePixelRatio = Math.max(2, window.devicePixelRatio || 1);

  const decades = (value) => (Number.isInteger(Math.log10(value)) ? value.toExponential(0) : "");
  data.families.forEach((family) => {
    new Chart(document.getElementById(family.id), {
      type: "scatter",
      data: {
        datasets: family.series.map((series, i) => ({
          label: series.type,
          data: series.points.map((point) => ({x: point[0], y: Math.min(4, Math.max(0.25, point[1]))})),
          borderColor: colours[i % colours.length],
          backgroundColor: colours[i % colours.length] + "80",
          pointStyle: markers[i % markers.length],
          pointRadius: 2.5,
        })),
      },
      options: {
        maintainAspectRatio: false,
        scales: {
          x: {type: "logarithmic", grid: {color: "#ddd"}, ticks: {callback: decades},
              title: {display: true, text: "measured, seconds (logarithmic)"}},
          y: {type: "logarithmic", min: 0.25, max: 4, grid: {color: "#ddd"},
              ticks: {callback: (value) => ([0.25, 0.5, 0.8, 1, 1.25, 2, 4].includes(value) ? value : "")},
              title: {display: true, text: data.ratio || "predicted / measured, held out"}},
        },
        plugins: {legend: {position: "bottom", labels: {usePointStyle: true}}},
      },
    });
  });
})();
