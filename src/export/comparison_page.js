"use strict";
// Hands the numbers of the page to Chart.js: one performance profile, one convergence chart a problem.
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);

  // Okabe and Ito's colours, which people with any kind of colour blindness tell apart on white, and three more; a
  // searcher also has a marker of its own, so that the page can be printed in grey.
  const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9", "#a0001c", "#7f7f7f",
                   "#5b2a86"];
  const dashes = [[], [8, 4], [2, 3], [8, 3, 2, 3], [14, 4]];
  const markers = ["circle", "rect", "triangle", "rectRot", "cross", "star", "crossRot", "rectRounded",
                   "dash", "line"];
  const names = data.overall.map((summary) => summary.searcher);

  Chart.defaults.animation = false;
  Chart.defaults.color = "#111";
  Chart.defaults.font.size = 13;
  Chart.defaults.devicePixelRatio = Math.max(2, window.devicePixelRatio || 1);

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
          x: Object.assign({grid: {color: "#ddd"}}, x),
          y: {min: 0, max: 1, grid: {color: "#ddd"}, title: {display: true, text: yTitle}},
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
