"""What the page shows of a finished ``classes`` job: pictures in the labels' colours and one row a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from backend.services.topology.requests import CONNECTIVITY
from backend.services.topology.volume import VOLUME_CONNECTIVITY

if TYPE_CHECKING:
    from backend.jobs.contract import JobView

PICTURES = (("before_picture", "Before"), ("after_picture", "After"), ("change_picture", "Changed places are bright"))
FILES = ("labels", "change_table", "before_picture", "after_picture", "change_picture")


def classes_files(view: JobView) -> list[str]:
    """Artifact ids for the downloads, the label map first."""
    made = view.result or {}
    return [made[name] for name in FILES if made.get(name)]


def classes_html(view: JobView) -> str:
    """HTML of a finished ``classes`` job; '' without a result."""
    made = view.result
    if not made:
        return ""
    solid = len(made["shape"]) == 3
    rows: Sequence[Mapping[str, Any]] = made["classes"]
    element = "voxels" if solid else "pixels"
    total = made["megapixels"] * 1e6
    lines = [
        f"<p><b>{len(rows)} {'label was' if len(rows) == 1 else 'labels were'} refined, each by itself.</b> "
        f"{made['changed']:,} {element} have another label now, {made['changed'] / total:.2%} of all.</p>"
    ]
    where = f", slice {made['slice'] + 1}, where most was changed" if solid else ""
    figures = "".join(
        f"<figure><figcaption>{title}{escape(where) if name == 'before_picture' else ''}</figcaption>"
        f'<img class="ss-image" src="/api/artifacts/{escape(made[name])}/image?side=1024" alt="{title}"></figure>'
        for name, title in PICTURES
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in made["notes"])
    connectivity = VOLUME_CONNECTIVITY if solid else CONNECTIVITY
    return (
        f'<section class="ss-section ss-classes">{"".join(lines)}{f"<ul>{notes}</ul>" if notes else ""}'
        f'<div class="ss-classes-pictures">{figures}</div>'
        f"{_table(rows, solid, element)}"
        f"<small>Connectivity: {connectivity}. A pixel belongs to the label of the highest refined probability; where "
        f"two are equal, to the one it had.</small></section>"
    )


def _table(rows: Sequence[Mapping[str, Any]], solid: bool, element: str) -> str:
    numbers = [("b0", "β₀ pieces"), ("b1", "β₁ tunnels" if solid else "β₁ holes")]
    if solid:
        numbers.append(("b2", "β₂ cavities"))
    titles = ["Label", *(title for _, title in numbers), "Places", f"Changed {element}", "Dice with input"]
    head = "".join(
        f'<th scope="col"{"" if place == 0 else " class=ss-number"}>{t}</th>' for place, t in enumerate(titles)
    )
    body = "".join(_row(place, row, [name for name, _ in numbers]) for place, row in enumerate(rows))
    return (
        f'<div class="ss-table-wrap"><table class="ss-table"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(place: int, row: Mapping[str, Any], numbers: Sequence[str]) -> str:
    from backend.services.topology.classes_colours import colour_of

    name = f" {escape(row['name'])}" if row["name"] else ""
    swatch = f'<span class="ss-classes-swatch" style="background:{colour_of(place)}"></span>'
    cells = [f"{row['before'][key]:,} → {row['after'][key]:,}" for key in numbers]
    cells += [f"{row['topological']:,} of {row['places']:,}", f"{row['changed']:,}", f"{row['dice']:.3f}"]
    told = "".join(f'<td class="ss-number">{cell}</td>' for cell in cells)
    return f'<tr><th scope="row">{swatch}{row["label"]}{name}</th>{told}</tr>'
