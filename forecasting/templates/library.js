"use strict";
// What was deflated, bytes again; a browser without this keeps the drawings that are in the page already.
async function inflate(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Differences of neighbours, bytes sorted by weight: summed up, modulo the size of the number.
async function unpack(text, width) {
  const bytes = await inflate(text);
  const count = bytes.length / width;
  const numbers = width === 2 ? new Uint16Array(count) : new Uint32Array(count);
  let sum = 0;
  for (let i = 0; i < count; i += 1) {
    for (let plane = 0; plane < width; plane += 1) { sum = (sum + bytes[plane * count + i] * 2 ** (8 * plane)) % 2 ** (8 * width); }
    numbers[i] = sum;
  }
  return numbers;
}

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim(); }
function json(id) { const held = document.getElementById(id); return held && JSON.parse(held.textContent); }
function three(value) { return String(Number(value.toPrecision(3))).replace("-", "\u2212"); }
function onTheme(redraw) { matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw); }
const page = { lead: null };
