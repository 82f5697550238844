// Numbers of a slide as people read them: lengths, scale bars, magnifications. Pure functions, no page.

// A round length (1, 2 or 5 times a power of ten) whose bar is at most `longest` screen pixels wide.
// `micrometresPerPixel` is the size of one screen pixel on the slide. Returns {micrometres, pixels}.
export function scaleBar(micrometresPerPixel, longest) {
  const most = micrometresPerPixel * longest;
  const power = 10 ** Math.floor(Math.log10(most));
  const factor = [5, 2, 1].find((step) => step * power <= most * (1 + 1e-9)) ?? 1;
  const micrometres = factor * power;
  return { micrometres, pixels: micrometres / micrometresPerPixel };
}

export function lengthText(micrometres) {
  if (micrometres >= 1000) return `${trimmed(micrometres / 1000)} mm`;
  if (micrometres >= 1) return `${trimmed(micrometres)} µm`;
  return `${trimmed(micrometres * 1000)} nm`;
}

// A position on the slide: always the same unit and digits, so that the numbers do not jump under the pointer.
export function positionText(micrometres) {
  return micrometres >= 10000 ? `${(micrometres / 1000).toFixed(3)} mm` : `${micrometres.toFixed(1)} µm`;
}

export function magnificationText(value) {
  return `×${value >= 10 ? value.toFixed(1).replace(/\.0$/, "") : value >= 1 ? trimmed(value) : value.toFixed(2)}`;
}

export function grouped(number) {
  return Math.round(number).toLocaleString("en").replaceAll(",", "\u202f");
}

function trimmed(value) {
  return String(Number(value.toPrecision(3)));
}
