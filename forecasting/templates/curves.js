// Curves: values under the pointer, lines that come and go for all plots at once, a mark at the lead of the maps.
(async function () {
  const figures = Array.from(document.querySelectorAll("figure.chart"));
  const packed = document.getElementById("plotly");
  if (!figures.length || !packed || !window.DecompressionStream) { return; }
  const program = document.createElement("script");
  program.textContent = new TextDecoder().decode(await inflate(packed.textContent));
  document.head.append(program);
  document.documentElement.classList.add("js");
  const hidden = new Set();
  const coarse = matchMedia("(pointer: coarse)").matches;

  function ink(value) { return value === "currentColor" ? colour("ink") : value; }
  function faint(value, share) {
    const held = /^#(..)(..)(..)$/.exec(ink(value));
    return held ? "rgba(" + held.slice(1).map((part) => parseInt(part, 16)).join(",") + "," + share + ")" : "rgba(128,128,128," + share + ")";
  }
  function plain(text) { return text.replace(/&/g, "&amp;").replace(/</g, "&lt;"); }

  function traces(data) {
    const bands = [], lines = [];
    data.traces.forEach((trace) => {
      const style = trace.style, x = data.places, low = trace.low || [], high = trace.high || [], name = plain(trace.name), visible = !hidden.has(trace.name);
      const inside = low.map((_, i) => i).filter((i) => low[i] !== null && high[i] !== null);
      if (inside.length > 1) {
        const back = inside.slice().reverse();
        bands.push({ meta: trace.name, visible, type: "scatter", mode: "lines", fill: "toself", hoverinfo: "skip", line: { width: 0 },
          fillcolor: faint(style.colour, style.dashes ? 0.07 : 0.14), x: inside.concat(back).map((i) => x[i]),
          y: inside.map((i) => high[i]).concat(back.map((i) => low[i])) });
      }
      const marked = style.marker || (x.length === 1 ? "circle" : "");
      lines.push({ meta: trace.name, name, visible, type: "scatter", mode: marked ? "lines+markers" : "lines", x, y: trace.y, connectgaps: true,
        line: { color: ink(style.colour), width: style.width, dash: style.dashes ? style.dashes.replace(/(\d+)/g, "$1px").replace(/ /g, ",") : "solid" },
        marker: { symbol: marked || "circle", size: 7, color: ink(style.colour), maxdisplayed: 9 },
        text: trace.y.map((y, i) => (y === null ? "" : three(y) + (!inside.includes(i) ? ""
          : " (" + three(low[i]) + " to " + three(high[i]) + ")"))),
        hovertemplate: "%{text}<extra>" + name + "</extra>" });
    });
    return bands.concat(lines);
  }

  function mark(data) {
    if (!data.leads || page.lead === null) { return []; }
    return [{ type: "line", xref: "x", yref: "paper", x0: page.lead, x1: page.lead, y0: 0, y1: 1, line: { color: colour("muted"), width: 1, dash: "dot" } }];
  }

  function layout(data, width) {
    const axis = { color: colour("muted"), gridcolor: colour("line"), zerolinecolor: colour("muted"), linecolor: colour("muted"), automargin: true, };
    const ticks = data.ticks.length ? { tickmode: "array", tickvals: data.ticks, ticktext: data.ticks.map(three) } : {};
    const ends = (pair, log) => (log ? pair.map(Math.log10) : pair);
    return { margin: { l: 56, r: 10, t: 30, b: 42 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("ink") },
      hovermode: width < 420 && data.traces.length > 8 ? "closest" : "x unified", dragmode: coarse ? false : "zoom",
      hoverlabel: { bgcolor: colour("paper"), bordercolor: colour("muted"), font: { color: colour("ink"), size: 12 }, namelength: width < 420 ? 16 : 30 },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("muted"), activecolor: colour("accent") },
      xaxis: { ...axis, ...ticks, title: { text: plain(data.x), standoff: 6 }, type: data.log[0] ? "log" : "linear", range: ends(data.span, data.log[0]), showgrid: false,
        hoverformat: ".4~g", unifiedhovertitle: { text: plain(data.x) + " %{x}" } },
      yaxis: { ...axis, title: { text: plain(data.y), standoff: 8 }, type: data.log[1] ? "log" : "linear", range: ends(data.range, data.log[1]), nticks: 7 },
      shapes: mark(data) };
  }

  const drawn = new Map();
  async function draw(figure) {
    if (drawn.has(figure)) { return; }
    const data = JSON.parse(figure.querySelector("script").textContent);
    const plot = document.createElement("div");
    plot.className = "plot";
    plot.tabIndex = 0;
    plot.setAttribute("role", "group");
    plot.setAttribute("aria-label", data.title + ". Left and right arrow keys tell values.");
    figure.insertBefore(plot, figure.querySelector("svg.curve"));
    drawn.set(figure, { plot, data });
    figure.classList.add("drawn");
    await Plotly.newPlot(plot, traces(data), layout(data, plot.clientWidth), { displaylogo: false, responsive: true, displayModeBar: coarse ? true : "hover",
      modeBarButtons: [["zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]], toImageButtonOptions: { filename: data.title.replace(/\W+/g, "-"), scale: 2 } });
    plot.on("plotly_click", (event) => { if (data.leads) { document.dispatchEvent(new CustomEvent("choose-lead", { detail: event.points[0].x })); } });
    const places = data.places;
    let place = -1;
    plot.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) { return; }
      event.preventDefault();
      place = Math.min(Math.max(place + step, 0), places.length - 1);
      Plotly.Fx.hover(plot, { xval: plot.layout.xaxis.type === "log" ? Math.log10(places[place]) : places[place] }, "xy");
    });
  }

  const near = new IntersectionObserver((entries) => entries.filter((one) => one.isIntersecting).forEach((one) => { near.unobserve(one.target); draw(one.target); }),
    { rootMargin: "800px" });
  figures.forEach((figure) => near.observe(figure));

  function toggled() {
    document.querySelectorAll(".key[data-name]").forEach((key) => key.setAttribute("aria-pressed", String(!hidden.has(key.dataset.name))));
    drawn.forEach(({ plot }) => { if (plot.data) { Plotly.restyle(plot, { visible: plot.data.map((trace) => !hidden.has(trace.meta)) }); } });
  }
  document.addEventListener("click", (event) => {
    const key = event.target.closest(".key[data-name], .tool[data-show]");
    if (!key) { return; }
    const group = Array.from(key.parentElement.querySelectorAll(".key[data-name]"), (one) => one.dataset.name);
    if (key.dataset.show === "all") { group.forEach((name) => hidden.delete(name)); }
    else if (key.dataset.show === "none") { group.forEach((name) => hidden.add(name)); }
    else if (hidden.has(key.dataset.name)) { hidden.delete(key.dataset.name); }
    else { hidden.add(key.dataset.name); }
    toggled();
  });
  document.addEventListener("lead", () => drawn.forEach(({ plot, data }) => { if (plot.layout && data.leads) { Plotly.relayout(plot, { shapes: mark(data) }); } }));
  onTheme(() => drawn.forEach(({ plot, data }) => Plotly.react(plot, traces(data), layout(data, plot.clientWidth))));
}());
