// Maps: the fields are in the page as numbers; any variable, forecaster and lead is drawn when it is asked for.
(async function () {
  const atlas = json("atlas-data");
  if (!atlas || !window.DecompressionStream) { return; }
  const LAND = 0, OUTSIDE = 1, MISSING = 65535, TOP = 4095, KEPT = 6e7;
  const { width, height } = atlas.raster;
  const cells = await unpack(atlas.raster.cells, 4);
  const places = (await Promise.all(atlas.places.map((text) => unpack(text, 4)))).map((numbers) => Float64Array.from(numbers, (n) => n * 0.001 - 360));
  const tables = {};
  for (const name of Object.keys(atlas.colours)) { tables[name] = await inflate(atlas.colours[name]); }
  atlas.variables.forEach((one) => { one.unit = one.unit.replace(/ /g, "\u00a0"); });
  const find = (id) => document.getElementById(id);
  const variable = find("map-variable"), forecaster = find("map-forecaster"), slider = find("lead"), readout = find("readout"), play = find("play");
  const panels = Array.from(document.querySelectorAll(".panel"), (figure) => ({ figure, kind: figure.dataset.kind, canvas: figure.querySelector(".map canvas") }));
  find("panels").classList.toggle("broad", width > 1.7 * height);
  panels.forEach(({ figure, canvas }) => {
    canvas.width = width; canvas.height = height;
    const over = figure.querySelector(".map svg");
    over.setAttribute("viewBox", "0 0 " + width + " " + height);
    over.innerHTML = '<clipPath id="clip-' + figure.dataset.kind + '"><rect width="' + width + '" height="' + height + '"/></clipPath><g clip-path="url(#clip-' + figure.dataset.kind + ')">'
      + atlas.raster.lines.map((path) => '<path d="' + path + '"/>').join("") + '</g><circle r="7" visibility="hidden"/><circle r="7" visibility="hidden"/>';
    atlas.raster.labels.forEach(([text, place, side]) => {
      const label = document.createElement("span");
      label.className = "grad " + side; label.textContent = text;
      label.style[side === "x" ? "left" : "top"] = 100 * place / (side === "x" ? width : height) + "%";
      figure.querySelector(".map").append(label);
    });
  });
  // The coast is where a pixel of land meets one of water
  const coast = new Uint8Array(cells.length);
  for (let i = 0; i + width < cells.length; i += 1) {
    const land = cells[i] === LAND;
    if ((i + 1) % width && (cells[i + 1] === LAND) !== land && cells[i + 1] !== OUTSIDE && cells[i] !== OUTSIDE) { coast[i] = 1; }
    if ((cells[i + width] === LAND) !== land && cells[i + width] !== OUTSIDE && cells[i] !== OUTSIDE) { coast[i] = 1; }
  }

  let kept = new Map(), size = 0;
  async function values(component, who, lead) {
    const name = component + "/" + who, key = name + "/" + lead;
    if (!kept.has(key)) {
      const levels = await unpack(atlas.fields[name][lead], 2), scale = atlas.scales[component];
      if (size > KEPT) { kept = new Map(); size = 0; }
      size += 4 * levels.length;
      kept.set(key, Float32Array.from(levels, (level) => (level === MISSING ? NaN : scale.low + scale.step * level)));
    }
    return kept.get(key);
  }
  function cut(component, value) {
    const scale = atlas.scales[component];
    return scale.cut[0] && value <= scale.low + scale.step / 2 ? "at most " : scale.cut[1] && value >= scale.low + scale.step * (TOP - 0.5) ? "at least " : "";
  }
  function size_of(parts) { return parts.length === 1 ? parts[0] : parts[0].map((value, i) => Math.hypot(value, parts[1][i])); }
  function minus(first, second) { return first.map((value, i) => value - second[i]); }
  function packed(text) {
    const part = /^#(..)(..)(..)$/.exec(text) || /^#(.)(.)(.)$/.exec(text);
    const [r, g, b] = part.slice(1).map((hex) => parseInt(hex.length === 1 ? hex + hex : hex, 16));
    return (255 << 24 | b << 16 | g << 8 | r) >>> 0;
  }

  function paint(canvas, field, table, [low, high]) {
    const context = canvas.getContext("2d"), image = context.createImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer), inks = new Uint32Array(field.length + 2);
    inks[LAND] = packed(colour("land")); inks[OUTSIDE] = 0;
    for (let i = 0; i < field.length; i += 1) {
      const at = 3 * Math.min(255, Math.max(0, Math.floor((field[i] - low) / (high - low) * 256)));
      inks[i + 2] = Number.isNaN(field[i]) ? 0 : (255 << 24 | table[at + 2] << 16 | table[at + 1] << 8 | table[at]) >>> 0;
    }
    const line = packed(colour("coast"));
    for (let i = 0; i < pixels.length; i += 1) { pixels[i] = coast[i] ? line : inks[cells[i]]; }
    context.putImageData(image, 0, 0);
    return context;
  }
  const spacing = Math.max(width, height) / 18;
  function arrows(context, [east, north], typical) {
    const scale = 1.35 * spacing / typical;
    context.strokeStyle = context.fillStyle = "rgba(20,24,30,0.85)"; const grain = width / context.canvas.clientWidth; context.lineWidth = Math.max(1, 1.15 * grain);
    context.beginPath();
    atlas.arrows.forEach(([cell, x, y, eastX, eastY, northX, northY]) => {
      const u = (east[cell] * eastX + north[cell] * northX) * scale, v = -(east[cell] * eastY + north[cell] * northY) * scale, length = Math.hypot(u, v);
      if (!(length > 2 * grain)) { return; }
      const fromX = x * width, fromY = y * height, toX = fromX + u, toY = fromY + v, head = Math.min(0.4 * length, 4.5 * grain) / length;
      context.moveTo(fromX, fromY); context.lineTo(toX, toY);
      context.moveTo(toX, toY); context.lineTo(toX - head * (u - 0.5 * v), toY - head * (v + 0.5 * u));
      context.moveTo(toX, toY); context.lineTo(toX - head * (u + 0.5 * v), toY - head * (v - 0.5 * u));
    });
    context.stroke();
  }
  function rounds(low, high) {
    const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 2.5, 5, 10].find((number) => number * power > 0.99 * rough);
    const first = Math.ceil(low / step - 1e-6), last = Math.floor(high / step + 1e-6);
    return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
  }
  function bar(figure, table, [low, high], label, unit, typical) {
    const canvas = figure.querySelector(".bar canvas");
    canvas.width = 256; canvas.height = 1;
    const context = canvas.getContext("2d"), image = context.createImageData(256, 1);
    for (let i = 0; i < 256; i += 1) { image.data.set([table[3 * i], table[3 * i + 1], table[3 * i + 2], 255], 4 * i); }
    context.putImageData(image, 0, 0);
    figure.querySelector(".ticks").innerHTML = rounds(low, high).map((value) => {
      const share = (value - low) / (high - low), side = share < 0.03 ? "first" : share > 0.97 ? "last" : "";
      return '<span class="' + side + '" style="left:' + 100 * share + '%">' + three(value) + "</span>";
    }).join("");
    figure.querySelector(".unit span").textContent = label + (unit ? " (" + unit + ")" : " (1)");
    const arrow = figure.querySelector(".arrow");
    arrow.hidden = typical === null;
    if (typical !== null) {
      const long = 1.35 * spacing * canvas.parentElement.clientWidth / width;
      arrow.innerHTML = '<svg width="' + long + '" viewBox="0 0 ' + long + ' 9"><path d="M0 4.5H' + long + "M" + long + " 4.5l-6 -3M" + long + ' 4.5l-6 3" stroke="currentColor" fill="none" stroke-width="1.4"/></svg>';
      arrow.append(three(typical) + " " + unit);
    }
  }

  let shown = null, pointed = null, turn = 0;
  async function show() {
    const mine = turn += 1, lead = Number(slider.value), about = atlas.variables[Number(variable.value)], who = forecaster.value;
    const when = atlas.leads[lead];
    find("lead-text").textContent = when.label;
    slider.setAttribute("aria-valuetext", "lead " + when.label);
    const [truth, own] = await Promise.all(["truth", who].map((name) => Promise.all(about.parts.map((part) => values(part, name, lead)))));
    if (mine !== turn) { return; }
    const wrong = own.map((part, i) => minus(part, truth[i]));
    const fields = { truth: size_of(truth), forecast: size_of(own) };
    fields.difference = minus(fields.forecast, fields.truth);
    const vectors = { truth, forecast: own, difference: wrong };
    const heads = { truth: "Truth", forecast: who, difference: "Forecast \u2212 truth" };
    find("map-when").textContent = about.label + ", " + when.when + ", lead " + when.label;
    panels.forEach(({ figure, kind, canvas }) => {
      const apart = kind === "difference", ends = apart ? [-about.wrong, about.wrong] : about.ends, table = tables[apart ? "balance" : about.colours];
      const typical = about.arrow && about.arrow[apart ? 1 : 0];
      const context = paint(canvas, fields[kind], table, ends);
      if (typical) { arrows(context, vectors[kind], typical); }
      figure.querySelector("figcaption").textContent = figure.querySelector("figcaption").title = heads[kind];
      canvas.setAttribute("aria-label", "Map of the " + about.label.toLowerCase() + ", " + heads[kind] + ", lead " + when.label);
      bar(figure, table, ends, apart ? "forecast \u2212 truth" : about.label, about.unit, typical);
    });
    shown = { fields, about, who };
    tell();
    if (page.lead !== when.hours) { page.lead = when.hours; document.dispatchEvent(new CustomEvent("lead")); }
  }

  function tell() {
    const cell = pointed === null ? -1 : cells[pointed] - 2;
    panels.forEach(({ figure }) => figure.querySelectorAll("circle").forEach((ring) => {
      ring.setAttribute("visibility", pointed === null ? "hidden" : "visible");
      if (pointed !== null) { ring.setAttribute("cx", pointed % width + 0.5); ring.setAttribute("cy", Math.floor(pointed / width) + 0.5); }
    }));
    if (pointed === null) { return; }
    if (cell < 0) { readout.textContent = cells[pointed] === LAND ? "Land." : "Outside the grid."; return; }
    const { fields, about, who } = shown, [latitude, longitude] = places.map((plane) => plane[cell]);
    const number = (field) => (Number.isNaN(field[cell]) ? "no value" : (about.parts.length === 1 ? cut(about.parts[0], field[cell]) : "") + three(field[cell]) + (about.unit ? " " + about.unit : ""));
    const east = (longitude + 540) % 360 - 180;
    readout.textContent = Math.abs(latitude).toFixed(2) + "\u00b0" + (latitude < 0 ? "S" : "N") + " " + Math.abs(east).toFixed(2) + "\u00b0" + (east < 0 ? "W" : "E")
      + ": truth " + number(fields.truth) + ", " + who + " " + number(fields.forecast) + ", difference " + (fields.difference[cell] > 0 ? "+" : "") + number(fields.difference);
  }
  panels.forEach(({ canvas }) => {
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      const column = Math.floor((event.clientX - box.left) / box.width * width), row = Math.floor((event.clientY - box.top) / box.height * height);
      if (column < 0 || row < 0 || column >= width || row >= height) { return; }
      pointed = row * width + column;
      if (shown) { tell(); }
    };
    canvas.addEventListener("pointermove", point);
    canvas.addEventListener("pointerdown", point);
    canvas.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step || !shown) { return; }
      event.preventDefault();
      const at = pointed === null ? Math.floor(height / 2) * width + Math.floor(width / 2) : pointed, stride = Math.max(4, Math.round(spacing / 3));
      const column = Math.min(width - 1, Math.max(0, at % width + step[0] * stride)), row = Math.min(height - 1, Math.max(0, Math.floor(at / width) + step[1] * stride));
      pointed = row * width + column;
      tell();
    });
  });
  [variable, forecaster].forEach((choice) => choice.addEventListener("change", show));
  slider.addEventListener("input", show);
  document.addEventListener("choose-lead", (event) => {
    const away = atlas.leads.map((lead) => Math.abs(lead.hours - event.detail));
    slider.value = away.indexOf(Math.min(...away));
    show();
  });
  let timer = null;
  play.addEventListener("click", () => {
    if (timer === null) {
      timer = setInterval(() => { slider.value = (Number(slider.value) + 1) % atlas.leads.length; show(); }, 450);
    } else { clearInterval(timer); timer = null; }
    play.setAttribute("aria-pressed", String(timer !== null));
    play.textContent = timer === null ? "\u25b6 play" : "\u275a\u275a stop";
  });
  play.hidden = slider.parentElement.hidden = atlas.leads.length < 2;
  document.documentElement.classList.add("maps-on", "js");
  onTheme(show);
  await show();
}());
