// Uses a report as a reader would, and writes what was found into the title of the outermost window.
(async function () {
  const wait = (ms) => new Promise((done) => { setTimeout(done, ms); });
  // The browser's clock runs ahead of the threads that inflate and draw: a little work lets them catch up
  let spent = 0;
  const work = () => { for (let i = 0; i < 4e6; i += 1) { spent += Math.sqrt(i); } };
  const until = async (ready) => { for (let i = 0; i < 400 && !ready(); i += 1) { work(); await wait(20); } };
  const found = { width: [innerWidth, document.documentElement.scrollWidth] };
  const by = (id) => document.getElementById(id);
  try {
    await until(() => by("map-when") && by("map-when").textContent);
    for (const figure of document.querySelectorAll("figure.chart")) {
      figure.scrollIntoView();
      await until(() => figure.querySelector(".plot .xtick"));
      await wait(100);
    }
    found.plots = [document.querySelectorAll("figure.chart").length, document.querySelectorAll("figure.chart .plot").length];
    found.pictures = getComputedStyle(document.querySelector(".pictures")).display;

    const canvas = document.querySelector(".panel[data-kind=forecast] canvas");
    const seen = () => { const text = canvas.toDataURL(); let sum = 0; for (let i = 0; i < text.length; i += 1) { sum = (sum * 31 + text.charCodeAt(i)) % 999999937; } return sum; };
    const said = () => [by("lead-text").textContent, by("lead").getAttribute("aria-valuetext"), by("map-when").textContent, seen()];
    const turn = async (id, value, kind) => {
      const before = by("map-when").textContent;
      by(id).value = value;
      by(id).dispatchEvent(new Event(kind));
      await until(() => by("map-when").textContent !== before);
      await wait(300);
    };
    found.last = said();
    await turn("lead", "0", "input");
    found.first = said();
    found.marks = Array.from(document.querySelectorAll(".plot"), (plot) => plot.layout.shapes[0].x0);

    canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp" }));
    found.told = by("readout").textContent;
    await turn("map-variable", "1", "change");
    found.component = [by("map-when").textContent, by("readout").textContent];
    await turn("map-variable", "0", "change");

    const key = document.querySelector(".key[data-name]");
    const plot = document.querySelector(".plot");
    const shown = () => plot.data.filter((trace) => trace.visible !== false && trace.hoverinfo !== "skip").map((trace) => trace.meta);
    found.before = shown();
    key.click();
    await wait(300);
    found.after = [key.dataset.name, key.getAttribute("aria-pressed"), shown()];
    key.click();
    await wait(300);
    plot.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
    await until(() => plot.querySelector(".hoverlayer text"));
    found.hover = plot.querySelector(".hoverlayer").textContent;
    Plotly.Fx.unhover(plot);
    found.reached = [by("lead"), by("play"), by("map-variable"), by("map-forecaster"), key, plot, canvas].every((one) => one.tabIndex === 0);

    // Words that lie over other words; what a table hides at its side, and what keeps its place on the screen, does not count
    scrollTo(0, 0);
    const boxes = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode, parent = node.parentElement;
      if (!node.textContent.trim() || parent.closest("script, style, .wide, .slide, .readout, .skip, option, title, details:not([open]) > :not(summary)")) { continue; }
      const range = document.createRange();
      range.selectNodeContents(node);
      for (const box of range.getClientRects()) { if (box.width > 2 && box.height > 2) { boxes.push([box, node.textContent.trim()]); } }
    }
    found.words = boxes.length;
    found.over = [];
    boxes.forEach(([a, first], i) => boxes.slice(i + 1).forEach(([b, second]) => {
      // Boxes of lines are taller than their letters
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left), high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 2 && high > 0.4 * Math.min(a.height, b.height)) { found.over.push([first, second]); }
    }));
    found.fetched = performance.getEntriesByType("resource").map((entry) => entry.name.slice(0, 60)).filter((name) => !name.startsWith("data:") && !name.startsWith("blob:"));
  } catch (error) { found.error = String(error.stack); }
  (window.parent || window).document.title = JSON.stringify(found);
}());
