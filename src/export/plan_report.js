"use strict";
// The report of a plan: its two charts, and the picture of its devices.
(function () {
  const data = page.data;
  const number = (value) => value.toLocaleString("en", {maximumSignificantDigits: 4});
  const axis = (text, more) => Object.assign({title: {display: true, text: text}, grid: page.grid}, more);
  const legend = {position: "bottom", labels: {usePointStyle: true}};
  const straight = (label, points, i) => ({
    label: label, data: points, borderColor: page.colours[i], backgroundColor: page.colours[i], borderDash: [6, 4],
    borderWidth: 1.5, pointRadius: 0, pointStyle: "line", tooltip: {enabled: false},
  });

  function drawConvergence(canvas) {
    const last = Math.max(2, data.evaluations);
    const datasets = [{
      label: "best so far", data: data.convergence.map((step) => ({x: step[0], y: step[1]})), stepped: "before",
      borderColor: page.colours[0], backgroundColor: page.colours[0], borderWidth: 2, pointRadius: 0, pointStyle: "line",
    }, straight("Megatron rule", [{x: 1, y: 1}, {x: last, y: 1}], 1)];
    if (data.optimum) datasets.push(straight("optimum", [{x: 1, y: data.optimum}, {x: last, y: data.optimum}], 2));
    const tick = (value) => (Number.isInteger(Math.log10(value)) ? value.toLocaleString("en") : "");
    new Chart(canvas, {
      type: "line",
      data: {datasets: datasets},
      options: {
        parsing: false, maintainAspectRatio: false,
        interaction: {mode: "nearest", axis: "x", intersect: false},
        scales: {
          x: axis("evaluations (logarithmic)", {type: "logarithmic", min: 1, max: last, ticks: {callback: tick, maxRotation: 0}}),
          y: axis("times the Megatron rule", {beginAtZero: true}),
        },
        plugins: {legend: legend},
      },
    });
  }

  function drawFront(canvas) {
    const most = Math.max(...data.front.map((point) => point.y)) * 1.05;
    const all = data.front.concat([data.plan, data.megatron]).map((point) => point.x).concat(data.target || []);
    const single = (label, point, i) => ({
      label: label, data: [point], borderColor: page.colours[i], backgroundColor: page.colours[i], showLine: false,
      pointRadius: 7, pointStyle: page.markers[i], order: -1,
    });
    const datasets = [{
      label: "the front", data: data.front, borderColor: page.colours[0], backgroundColor: page.colours[0], borderWidth: 1.5,
      stepped: "before", pointRadius: 3.5, pointStyle: "circle",
    }, single("this plan", data.plan, 1), single("Megatron rule", data.megatron, 2)];
    if (data.target) datasets.push(straight("target", [{x: data.target, y: 0}, {x: data.target, y: most}], 4));
    new Chart(canvas, {
      type: "line",
      data: {datasets: datasets},
      options: {
        parsing: false, maintainAspectRatio: false,
        interaction: {mode: "nearest", intersect: false},
        scales: {
          x: axis(data.latency + " (ms, logarithmic)", {
            type: "logarithmic", min: 0.9 * Math.min(...all), max: 1.1 * Math.max(...all),
            ticks: {maxRotation: 0, autoSkipPadding: 12, callback: (value) => {
              const digit = value / Math.pow(10, Math.floor(Math.log10(value) + 1e-9));
              return [1, 1.5, 2, 3, 4, 5, 7].some((kept) => Math.abs(digit - kept) < 1e-6) ? number(value) : "";
            }},
          }),
          y: axis("tokens/s/device", {min: 0, suggestedMax: most}),
        },
        plugins: {
          legend: legend,
          tooltip: {
            displayColors: false,
            callbacks: {
              title: (items) => items.map((item) => item.dataset.label).join(", "),
              label: (item) => {
                const line = number(item.raw.x) + " ms, " + number(item.raw.y) + " tokens/s/device";
                return item.raw.label ? [line].concat(item.raw.label.split(" | ")) : line;
              },
            },
          },
        },
      },
    });
  }

  const convergence = document.getElementById("convergence");
  if (convergence) drawConvergence(convergence);
  const front = document.getElementById("front");
  if (front) drawFront(front);

  // A device that is chosen tells what it holds and shows who is in its group.
  document.querySelectorAll(".picture").forEach((picture) => {
    const nodes = picture.querySelector(".nodes");
    const output = picture.querySelector("output");
    const devices = [...picture.querySelectorAll("button.device")];
    const value = (device, name) => device.style.getPropertyValue("--" + name);
    let picked = null;

    function show() {
      const by = nodes.dataset.axis;
      devices.forEach((device) => {
        const together = picked && device !== picked && value(device, by) === value(picked, by) &&
                         value(device, "copy") === value(picked, "copy");
        device.classList.toggle("picked", device === picked);
        device.classList.toggle("together", Boolean(together));
      });
      output.textContent = picked ? picked.dataset.holds : "";
    }
    devices.forEach((device) => device.addEventListener("click", () => {
      picked = picked === device ? null : device;
      show();
    }));
    picture.querySelectorAll(".axes input").forEach((input) => input.addEventListener("change", () => {
      nodes.dataset.axis = input.value;
      show();
    }));
  });
})();
