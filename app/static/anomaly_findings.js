// The table of findings: where each lies and how large it is; a click goes there, three buttons say what the reader thinks.
import { element } from "/static/theme/common.js";

const WORDS = [["accepted", "Accept"], ["rejected", "Reject"], ["", "Undecided"]];
const SIZES = { small: "below 0.05 ml", medium: "0.05 to 0.5 ml", large: "0.5 ml or more" };

export function findingsTable(findings, { choose, judge }) {
  const mni = findings.some((row) => row.mni_mm);
  const named = findings.some((row) => row.region);
  const placed = findings.some((row) => row.centroid_mm);
  const heads = [["", ""], ["Your verdict", ""], ["Volume", "number"], ["Size", ""], ["Peak", "number"],
    ...(named ? [["Region", ""]] : []), ...(placed ? [["Centroid, scanner [mm]", "number"]] : []),
    ...(mni ? [["Centroid, MNI [mm]", "number"]] : []), ["Hottest voxel", "number"]];
  const cell = (text, kind = "number") => element("td", { class: kind }, text);
  const rows = findings.map((row) => element("tr", {
    "data-label": row.label, "data-verdict": row.verdict, onclick: () => choose(row.label),
  },
  element("td", {}, element("button", { type: "button", class: "go", "aria-label": `Go to finding ${row.label}` }, `${row.label}`)),
  element("td", { class: "verdict" }, choices(row, judge)),
  cell(volume(row.ml)), element("td", { title: SIZES[row.size] }, row.size), cell(row.peak.toFixed(3)),
  ...(named ? [cell(row.region, "region")] : []), ...(placed ? [cell(place(row.centroid_mm))] : []),
  ...(mni ? [cell(place(row.mni_mm))] : []), cell(row.voxel.join(", "))));
  return element("table", {},
    element("thead", {}, element("tr", {}, ...heads.map(([name, kind]) => element("th", { scope: "col", class: kind }, name)))),
    element("tbody", {}, ...rows));
}

export function markVerdict(table, label, verdict) {
  const row = table.querySelector(`tr[data-label="${label}"]`);
  if (!row) return;
  row.dataset.verdict = verdict;
  for (const button of row.querySelectorAll(".choice button")) {
    button.setAttribute("aria-pressed", String(button.dataset.word === verdict));
  }
}

export function markChosen(table, label) {
  for (const row of table.querySelectorAll("tbody tr")) {
    const chosen = Number(row.dataset.label) === label;
    row.setAttribute("aria-current", String(chosen));
    if (!chosen) continue;
    // Only the table moves: the page stays where the reader looks.
    const box = table.parentElement;
    const [top, bottom] = [row.offsetTop - 40, row.offsetTop + row.offsetHeight];
    if (top < box.scrollTop) box.scrollTop = top;
    else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
  }
}

export function volume(ml) {
  return ml < 0.1 ? `${Number((ml * 1000).toPrecision(3))} µl` : `${ml.toFixed(2)} ml`;
}

function choices(row, judge) {
  return element("span", { class: "choice", role: "group", "aria-label": `Verdict on finding ${row.label}` },
    ...WORDS.map(([word, title]) => element("button", {
      type: "button", "data-word": word, "aria-pressed": String(row.verdict === word),
      onclick: (event) => { event.stopPropagation(); judge(row.label, word); },
    }, title)));
}

function place(mm) {
  return mm ? mm.map((value) => value.toFixed(0)).join(", ") : "–";
}
