"use strict";
// Hands the numbers of the page to Chart.js: one scatter chart a device's family of kernels.
(function () {
  const data = page.data;
  const colours = page.colours;
  const markers = page.markers;

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
          x: {type: "logarithmic", grid: page.grid, ticks: {callback: decades},
              title: {display: true, text: "measured, seconds (logarithmic)"}},
          y: {type: "logarithmic", min: 0.25, max: 4, grid: page.grid,
              ticks: {callback: (value) => ([0.25, 0.5, 0.8, 1, 1.25, 2, 4].includes(value) ? value : "")},
              title: {display: true, text: data.ratio || "predicted / measured, held out"}},
        },
        plugins: {legend: {position: "bottom", labels: {usePointStyle: true}}},
      },
    });
  });
})();
