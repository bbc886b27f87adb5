"use strict";
(() => {
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const root = document.documentElement;
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  const onAxis = (chart, x) => chart.x_log && x !== null ? Math.log10(x) : x;

  // A label stands on the far side of its point from the nearest other point.
  const labelPlace = (chart, index) => {
    const xs = chart.series.map((series) => onAxis(chart, series.x[0])), ys = chart.series.map((series) => series.y[0]);
    const [width, height] = [xs, ys].map((values) => Math.max(...values) - Math.min(...values) || 1);
    const gap = (other) => Math.hypot((xs[other] - xs[index]) / width, (ys[other] - ys[index]) / height);
    const others = xs.map((_, other) => other).filter((other) => other !== index);
    const nearest = others.sort((a, b) => gap(a) - gap(b))[0];
    const isBelow = nearest === undefined || ys[nearest] < ys[index] || (ys[nearest] === ys[index] && nearest < index);
    return isBelow ? "top center" : "bottom center";
  };

  const trace = (series, chart, index) => {
    const paint = colour(series.colour);
    const isAgain = chart.series.slice(0, index).some((other) => other.colour === series.colour);
    const isPoints = series.style === "points", isCloud = series.style === "cloud";
    const result = {
      name: series.name, x: series.x, y: series.y, type: "scatter",
      mode: series.texts.length ? "markers+text" : isPoints || isCloud ? "markers" : "lines",
      text: series.texts, textposition: series.texts.length ? labelPlace(chart, index) : undefined, cliponaxis: false,
      line: { color: paint, width: 2, shape: series.style === "steps" ? "hv" : "linear", dash: isAgain ? "dot" : "solid" },
      marker: { color: paint, size: isCloud ? 7 : 12, opacity: isCloud ? 0.7 : 1 },
      hovertemplate: `${chart.x_title} %{x:,.4~g}<br>${chart.y_title} %{y:${chart.y_percent ? ".1%" : ",.4~g"}}`,
    };
    if (series.error) {
      result.error_x = { type: "data", symmetric: false, array: series.error[1], arrayminus: series.error[0], color: paint, thickness: 1, width: 0 };
    }
    return result;
  };

  const marks = (chart) => {
    const ink = colour("--ink"), rule = colour("--rule");
    const shapes = [], annotations = [];
    const note = (text, place) => annotations.push({ text, showarrow: false, font: { size: 12, color: colour("--muted") }, ...place });
    for (const [from, to, text] of chart.bands) {
      shapes.push({ type: "rect", xref: "x", yref: "paper", x0: from, x1: to, y0: 0, y1: 1, fillcolor: colour("--soft"), line: { width: 0 }, layer: "below" });
      note(text, { x: to, xanchor: "right", yref: "paper", y: 1, yanchor: "top", xref: "x" });
    }
    for (const [level, text] of chart.levels) {
      shapes.push({ type: "line", xref: "paper", yref: "y", x0: 0, x1: 1, y0: level, y1: level, line: { color: ink, width: 1.5, dash: "dash" } });
      note(text, { xref: "paper", x: 0, xanchor: "left", yref: "y", y: level, yanchor: "bottom" });
    }
    for (const [wall, text] of chart.walls) {
      shapes.push({ type: "line", xref: "x", yref: "paper", x0: wall, x1: wall, y0: 0, y1: 1, line: { color: ink, width: 1.5, dash: "dash" } });
      note(text, { xref: "x", x: onAxis(chart, wall), xanchor: "left", yref: "paper", y: 0, yanchor: "bottom", xshift: 4 });
    }
    if (chart.diagonal) {
      const [low, high] = chart.diagonal;
      shapes.push({ type: "line", x0: low, x1: high, y0: low, y1: high, line: { color: rule, width: 2 }, layer: "below" });
    }
    return { shapes, annotations };
  };

  // Labels of points lie above them: leave room beside and above.
  const padded = (values) => {
    const known = values.filter((value) => value !== null);
    const low = Math.min(...known), high = Math.max(...known);
    const margin = (high - low) * 0.25 || Math.abs(high) * 0.05 || 1;
    return [low - margin, high + margin];
  };

  const layout = (chart) => {
    const isScatter = ["points", "cloud"].includes(chart.series[0].style);
    const axis = (title) => ({
      title: { text: title, font: { size: 12, color: colour("--muted") }, standoff: 8 }, gridcolor: colour("--rule"), zeroline: false, linecolor: colour("--rule"),
      tickfont: { size: 12, color: colour("--muted") }, automargin: true, nticks: 6, fixedrange: true,
    });
    const result = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { family: getComputedStyle(document.body).fontFamily, color: colour("--ink"), size: 13 },
      margin: { l: 8, r: 12, t: 10, b: 8 }, hovermode: isScatter ? "closest" : "x unified",
      hoverlabel: { bgcolor: colour("--surface"), bordercolor: colour("--rule"), font: { color: colour("--ink"), size: 12 } },
      showlegend: chart.series.length > 1 && chart.series[0].style !== "points",
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 } },
      xaxis: axis(chart.x_title), yaxis: axis(chart.y_title), ...marks(chart),
    };
    if (chart.x_log) Object.assign(result.xaxis, { type: "log", dtick: "D2", tickformat: ",~g" });
    if (chart.y_percent) result.yaxis.tickformat = ".2~%";
    if (chart.series[0].style === "points") {
      const places = [...chart.series.flatMap((series) => series.x), ...chart.walls.map(([wall]) => wall)];
      result.xaxis.range = padded(places.map((x) => onAxis(chart, x)));
      result.yaxis.range = padded(chart.series.flatMap((series) => series.y));
    }
    return result;
  };

  const draw = () => Promise.all(data.charts.map((chart) =>
    Plotly.react(`plot-${chart.id}`, chart.series.map((series, index) => trace(series, chart, index)), layout(chart), { displayModeBar: false, responsive: true })));
  draw().then(() => { root.dataset.plots = String(data.charts.length); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  // A table that is cut off at the right says so: phones hide their scroll bars.
  const boxes = [...document.querySelectorAll(".scroll")];
  const tell = () => boxes.forEach((box) => box.classList.toggle("more", box.scrollWidth > box.clientWidth + 1));
  const watch = new ResizeObserver(tell);
  boxes.forEach((box) => watch.observe(box));
  tell();

  const slider = document.getElementById("frame");
  if (!slider) return;
  const rows = [...document.querySelectorAll("#path-map tbody tr")];
  const last = data.frames.length - 1;
  const share = (probabilities) => probabilities.length < 2 ? 0
    : -probabilities.reduce((sum, p) => sum + (p > 0 ? p * Math.log(p) : 0), 0) / Math.log(probabilities.length);
  const lead = (probabilities) => {
    const [first, second] = [...probabilities, 0].sort((a, b) => b - a);
    return first - second;
  };
  const write = (place, value) => {
    place.value = value;
    place.textContent = Math.round(100 * value);
  };
  const show = (index) => {
    const [step, probabilities] = data.frames[index];
    document.getElementById("frame-step").value = step;
    rows.forEach((row, position) => {
      for (const cell of row.querySelectorAll(".cell")) {
        const p = probabilities[position][Number(cell.dataset.choice)];
        cell.style.setProperty("--p", p.toFixed(3));
        cell.classList.toggle("strong", p > 0.62);
        cell.textContent = Math.round(100 * p);
      }
      const undecided = share(probabilities[position]);
      row.querySelector(".meter i").style.width = `${100 * undecided}%`;
      write(row.querySelector(".entropy data"), undecided);
      write(row.querySelector(".margin data"), lead(probabilities[position]));
      const now = row.querySelector(".stream .now"), x = last ? 150 * index / last : 150;
      now.setAttribute("x1", x);
      now.setAttribute("x2", x);
    });
  };
  slider.addEventListener("input", () => show(Number(slider.value)));

  const play = document.getElementById("play");
  let timer = null;
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
    play.setAttribute("aria-pressed", "false");
  };
  play.addEventListener("click", () => {
    if (timer) return stop();
    if (Number(slider.value) === last) slider.value = 0;
    play.textContent = "Pause";
    play.setAttribute("aria-pressed", "true");
    timer = setInterval(() => {
      if (Number(slider.value) >= last) return stop();
      slider.value = Number(slider.value) + 1;
      show(Number(slider.value));
    }, 90);
  });
})();
