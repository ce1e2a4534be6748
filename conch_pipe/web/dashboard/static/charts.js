"use strict";
// Draws the table of figures below it: files by time, and how long they waited for their verdict.
(() => {
  const charted = document.querySelector("[data-charted]");
  if (!charted || typeof uPlot === "undefined") return;

  const ink = (name) => {
    const probe = document.createElement("i");
    probe.className = `ink-${name}`;
    document.body.append(probe);
    const colour = getComputedStyle(probe).color;
    probe.remove();
    return colour;
  };
  const faded = (colour) => colour.replace(/^rgb\((.*)\)$/, "rgba($1, 0.25)");

  const figures = () => {
    const rows = [...charted.querySelectorAll("tbody tr")].reverse(); // the newest is the first
    const value = (cell) => {
      const data = cell.querySelector("data");
      return data ? Number(data.value) : null;
    };
    const column = (number) => rows.map((row) => value(row.cells[number]));
    return {
      at: rows.map((row) => Date.parse(row.querySelector("time").dateTime) / 1000),
      // Nothing is no bar: one without height is still a line.
      received: [column(1), column(2)].map((values) => values.map((one) => one || null)),
      waited: [column(5), column(6)],
    };
  };

  const pad = (number) => String(number).padStart(2, "0");
  const clock = (seconds) => {
    const at = new Date(seconds * 1000);
    return `${pad(at.getHours())}:${pad(at.getMinutes())}`;
  };
  const seconds = (value) => {
    if (value === null || value === undefined) return "–";
    if (value === 0) return "0 s";
    if (value < 1) return `${Math.round(value * 1000)} ms`;
    return value < 120 ? `${Number(value.toFixed(1))} s` : `${Math.round(value / 60)} min`;
  };
  const files = (value) => (value === null || value === undefined ? "0" : String(value));

  const shapes = {
    received: {
      title: "Files received", units: files, steps: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000],
      series: (colours) => [
        { label: "received", stroke: colours.accent, fill: faded(colours.accent), width: 1, paths: uPlot.paths.bars({ size: [0.85, 40] }), points: { show: false } },
        { label: "failed", stroke: colours.bad, fill: colours.bad, width: 1, paths: uPlot.paths.bars({ size: [0.85, 40] }), points: { show: false } },
      ],
    },
    waited: {
      title: "From receiving to verdict", units: seconds,
      series: (colours) => [
        { label: "half within", stroke: colours.accent, width: 2, spanGaps: false, points: { show: true, size: 5 } },
        { label: "19 of 20 within", stroke: colours.second, width: 2, dash: [6, 3], spanGaps: false, points: { show: true, size: 5 } },
      ],
    },
  };

  const drawn = new Map();
  const draw = () => {
    const found = figures();
    const colours = { accent: ink("accent"), bad: ink("bad"), second: ink("second"), soft: ink("soft"), line: ink("line") };
    const step = found.at.length > 1 ? found.at[1] - found.at[0] : 60;
    for (const place of document.querySelectorAll("[data-chart]")) {
      const shape = shapes[place.dataset.chart];
      const data = [found.at, ...found[place.dataset.chart]];
      drawn.get(place)?.destroy();
      const axis = { stroke: colours.soft, grid: { stroke: colours.line, width: 1 }, ticks: { stroke: colours.line, width: 1 }, font: "12px system-ui, sans-serif" };
      drawn.set(place, new uPlot({
        title: shape.title,
        width: Math.max(240, place.clientWidth), height: 200,
        cursor: { sync: { key: "overview" }, drag: { x: false, y: false }, y: false },
        scales: {
          x: { range: () => [found.at[0] - step / 2, found.at[found.at.length - 1] + step / 2] },
          y: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] },
        },
        axes: [
          { ...axis, values: (_, ticks) => ticks.map(clock), grid: { show: false } },
          { ...axis, size: 60, ...(shape.steps ? { incrs: shape.steps } : {}), values: (_, ticks) => ticks.map(shape.units) },
        ],
        series: [
          { label: "from", value: (_, at) => (at === null || at === undefined ? "–" : clock(at)) },
          ...shape.series(colours).map((one) => ({ ...one, value: (_, value, __, at) => (at === null || at === undefined ? "–" : shape.units(value)) })),
        ],
      }, data, place));
    }
  };

  draw();
  let pending = 0;
  const soon = () => {
    cancelAnimationFrame(pending);
    pending = requestAnimationFrame(draw);
  };
  const seen = new Map();
  const watched = new ResizeObserver((changes) => {
    for (const one of changes) {
      const width = Math.round(one.contentRect.width);
      if (seen.get(one.target) !== width) soon();
      seen.set(one.target, width);
    }
  });
  for (const place of document.querySelectorAll("[data-chart]")) watched.observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", soon);
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.target === charted) soon();
  });
})();
