"use strict";
// Hands the numbers of the page to Chart.js: one performance profile, one convergence chart a problem.
(function () {
  const data = page.data;
  const colours = page.colours;
  const dashes = [[], [8, 4], [2, 3], [8, 3, 2, 3], [14, 4]];
  const markers = page.markers;
  const names = data.overall.map((summary) => summary.searcher);

  function dataset(summary, xs, key) {
    const i = Math.max(0, names.indexOf(summary.searcher));
    const every = Math.ceil(xs.length / 9);
    return {
      label: summary.searcher,
      data: xs.map((x, at) => ({x: x, y: summary[key][at]})),
      borderColor: colours[i % colours.length],
      backgroundColor: colours[i % colours.length],
      borderDash: dashes[i % dashes.length],
      borderWidth: 2,
      clip: 8,
      pointStyle: markers[i % markers.length],
      pointRadius: (context) => ((context.dataIndex + i) % every === 0 ? 4 : 0),
      stepped: key === "curve" ? "before" : false,
    };
  }

  function draw(id, summaries, xs, key, x, yTitle) {
    new Chart(document.getElementById(id), {
      type: "line",
      data: {datasets: summaries.map((summary) => dataset(summary, xs, key))},
      options: {
        parsing: false,
        maintainAspectRatio: false,
        interaction: {mode: "nearest", axis: "x", intersect: false},
        scales: {
          x: Object.assign({grid: page.grid}, x),
          y: {min: 0, max: 1, grid: page.grid, title: {display: true, text: page.beside(yTitle)}},
        },
        plugins: {legend: {position: "bottom", labels: {usePointStyle: true}}},
      },
    });
  }

  draw("profile", data.overall, data.taus, "profile",
       {type: "linear", min: 0, max: 1, title: {display: true, text: "score \u03c4 = best value / optimum"}},
       "share of runs with at least this score");
  data.problems.forEach((problem, at) => {
    if (problem.searchers.length === 0) return;
    const tick = (value) => (Number.isInteger(Math.log10(value)) ? value.toLocaleString("en") : "");
    draw("problem-" + at, problem.searchers, data.curve_at, "curve",
         {type: "logarithmic", min: 1, max: data.budget, ticks: {callback: tick},
          title: {display: true, text: "evaluations (logarithmic)"}},
         "best so far / optimum (interquartile mean)");
  });
})();
