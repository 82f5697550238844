// The scores of a scan beside those of healthy brains, for <ss-plot>.
const SCAN = "#0072B2";
const HEALTHY = "#E69F00";
const LINE = "#D55E00";

// Share of voxels in each bin, of this scan as bars and of healthy brains as a line; the threshold stands as a line.
export function histogramFigure(data, threshold) {
  const bins = data.histogram.length;
  const wide = data.top / bins;
  const total = data.histogram.reduce((sum, count) => sum + count, 0) || 1;
  const centres = data.histogram.map((_, index) => (index + 0.5) * wide);
  const shares = data.histogram.map((count) => 100 * count / total);
  const hover = "score %{x:.3f}<br>%{y:.3g} % of the brain<extra>%{fullData.name}</extra>";
  const traces = [{ type: "bar", x: centres, y: shares, width: wide, name: "this scan", marker: { color: SCAN, line: { width: 0 } },
    hovertemplate: hover }];
  const healthy = healthyShares(data, bins, wide);
  if (healthy) {
    traces.push({ type: "scatter", mode: "lines", line: { shape: "hvh", color: HEALTHY, width: 2 }, x: centres, y: healthy,
      name: "healthy validation brains", hovertemplate: hover });
  }
  return {
    traces, x: "score", y: "voxels of the brain [%]", label: "How often each score occurs", log: true, height: 230,
    range: { x: [0, data.top] }, shapes: [mark(threshold)],
  };
}

// Share of voxels above each score: where the threshold cuts it is the false-positive rate, for healthy brains.
export function aboveFigure(data, threshold) {
  const bins = data.histogram.length;
  const edges = [...data.histogram.map((_, index) => index * data.top / bins), data.top];
  const hover = "above %{x:.3f}: %{y:.3g} %<extra>%{fullData.name}</extra>";
  const above = edges.map((edge) => 100 * shareAbove(data, edge)).map((share) => (share > 0 ? share : null));
  const traces = [{ type: "scatter", mode: "lines", x: edges, y: above, name: "this scan", line: { color: SCAN, width: 2 },
    hovertemplate: hover }];
  if (data.healthy.length) {
    traces.push({ type: "scatter", mode: "lines+markers", x: data.healthy.map(([score]) => score),
      y: data.healthy.map(([, rate]) => 100 * rate), name: "healthy validation brains",
      line: { color: HEALTHY, width: 2 }, marker: { size: 6, color: HEALTHY }, hovertemplate: hover });
  }
  return {
    traces, x: "threshold on the score", y: "voxels above it [%]", label: "Share of voxels above each threshold", log: true,
    height: 230, range: { x: [0, Math.max(data.top, ...data.healthy.map(([score]) => score))] }, shapes: [mark(threshold)],
  };
}

// Share of the brain, 0 to 1, that scores above `at`, from the histogram.
export function shareAbove(data, at) {
  const wide = data.top / data.histogram.length;
  const total = data.histogram.reduce((sum, count) => sum + count, 0) || 1;
  const within = data.histogram.reduce((sum, count, index) => sum + count * clamp((index + 1) - at / wide), 0);
  return within / total;
}

// Share of healthy voxels above `at`, or null where the table of the weights does not reach there.
export function healthyAbove(data, at) {
  const { healthy } = data;
  if (!healthy.length || at < healthy[0][0]) return null;
  const next = healthy.findIndex(([score]) => score >= at);
  if (next < 0) return 0;
  if (next === 0) return healthy[0][1];
  const [[low, more], [high, less]] = [healthy[next - 1], healthy[next]];
  const share = high > low ? (at - low) / (high - low) : 1;
  return Math.exp(Math.log(more) * (1 - share) + Math.log(less) * share);
}

// The score that a share `rate` of healthy voxels lies above; held at the ends of the table.
export function scoreFor(data, rate) {
  const { healthy } = data;
  const next = healthy.findIndex(([, listed]) => listed <= rate);
  if (next < 0) return healthy.at(-1)[0];
  if (next === 0) return healthy[0][0];
  const [[low, more], [high, less]] = [healthy[next - 1], healthy[next]];
  return low + (high - low) * Math.log(more / rate) / Math.log(more / less);
}

// The table begins at the score that a fifth of healthy voxels exceed: below it nothing is known of their shape.
function healthyShares(data, bins, wide) {
  if (!data.healthy.length) return null;
  const shares = Array.from({ length: bins }, (_, index) => {
    const [low, high] = [healthyAbove(data, index * wide), healthyAbove(data, (index + 1) * wide)];
    return low === null || high === null || low <= high ? null : 100 * (low - high);
  });
  return shares.some((share) => share !== null) ? shares : null;
}

function mark(threshold) {
  return { type: "line", x0: threshold, x1: threshold, y0: 0, y1: 1, yref: "paper", line: { color: LINE, width: 2, dash: "dash" } };
}

function clamp(value) {
  return Math.min(1, Math.max(0, value));
}
