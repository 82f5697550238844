// Clips as the server stores them: facts, grey frames and labels, each fetched once and kept while it is recent.
import { api, problem, unreachable } from "/static/theme/common.js";

const KEPT = 16;
const clips = new Map();

async function bytes(path) {
  let answer;
  try { answer = await fetch(path, { cache: "no-store" }); } catch { throw unreachable(); }
  if (answer.ok) return new Uint8Array(await answer.arrayBuffer());
  let body = null;
  try { body = await answer.json(); } catch { /* not JSON: told below */ }
  throw problem(answer.status, body);
}

async function load(id) {
  const address = `/api/clips/${encodeURIComponent(id)}`;
  const facts = await api(address);
  const [grey, codes] = await Promise.all([bytes(`${address}/frames`), facts.labels ? bytes(`${address}/labels`) : null]);
  return { ...facts, grey, codes };
}

// { frames, width, height, fps, end_diastole, end_systole, grey, codes | null } of a stored clip.
export function clipOf(id) {
  if (!clips.has(id)) {
    const coming = load(id);
    coming.catch(() => clips.delete(id));
    clips.set(id, coming);
    if (clips.size > KEPT) clips.delete(clips.keys().next().value);
  }
  return clips.get(id);
}

// Puts one frame on a canvas of the clip's own size; the browser scales it.
export function drawGrey(canvas, clip, frame) {
  const { width, height, grey } = clip;
  const context = canvas.getContext("2d");
  const image = canvas.image ??= context.createImageData(width, height);
  const words = new Uint32Array(image.data.buffer);
  const start = frame * width * height;
  for (let at = 0; at < words.length; at += 1) words[at] = 0xff000000 | (grey[start + at] * 0x010101);
  context.putImageData(image, 0, 0);
}

// The same for the labels: `colours` maps a code to 0xAABBGGRR, everything else is transparent.
export function drawLabels(canvas, clip, frame, colours) {
  const { width, height, codes } = clip;
  const context = canvas.getContext("2d");
  const image = canvas.image ??= context.createImageData(width, height);
  const words = new Uint32Array(image.data.buffer);
  const start = frame * width * height;
  for (let at = 0; at < words.length; at += 1) words[at] = colours[codes[start + at]] ?? 0;
  context.putImageData(image, 0, 0);
}

export function packed(hex) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return (0xff000000 | (blue << 16) | (green << 8) | red) >>> 0;
}
