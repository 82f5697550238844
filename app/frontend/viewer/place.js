// Where the viewer looks, as the part of an address after "#": centre in slide pixels, and magnification.
// Slides without a known magnification carry `zoom` instead: screen pixels per slide pixel.

export function readPlace(hash) {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  const number = (name) => (values.has(name) && values.get(name) !== "" ? Number(values.get(name)) : NaN);
  const place = { x: number("x"), y: number("y"), mag: number("mag"), zoom: number("zoom"), rotate: number("rotate") };
  if (![place.x, place.y].every(Number.isFinite) || !(place.mag > 0 || place.zoom > 0)) return null;
  place.rotate = [90, 180, 270].includes(place.rotate) ? place.rotate : 0;
  return place;
}

export function writePlace({ x, y, imageZoom, rotate }, magnification) {
  const values = [`x=${Math.round(x)}`, `y=${Math.round(y)}`];
  const round = (value) => Number(value.toPrecision(4));
  values.push(magnification ? `mag=${round(imageZoom * magnification)}` : `zoom=${round(imageZoom)}`);
  if (rotate) values.push(`rotate=${rotate}`);
  return `#${values.join("&")}`;
}

// Screen pixels per slide pixel of a place; NaN when it was written for a slide of the other kind.
export function zoomOf(place, magnification) {
  return magnification ? place.mag / magnification : place.zoom;
}
