"""HTML of the "Your own generator" part: the folder, what came of a training, and the networks on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from app.components.downloads import size_text
from app.components.training_parts import ask_button, loss_html
from backend.services.echo.needs import PARTS, part_of
from backend.services.echo.training import METHODS
from backend.services.own_weights import trained_minutes, trained_on

if TYPE_CHECKING:
    from backend.services.echo.training_folder import FolderFacts
    from backend.services.own_weights import StoppedView
    from backend.weights import WeightFile

OTHERS = {"student": "few-step student"}


def facts_html(facts: FolderFacts) -> str:
    """What the table of a folder says."""
    layout = "the layout of EchoNet-Dynamic" if facts.layout == "echonet" else "a table of its own"
    notes = "".join(f" {escape(note)}" for note in facts.notes)
    return (
        f'<p class="ss-ok"><b>{facts.clips:,} clip{"" if facts.clips == 1 else "s"}</b><span>In {layout}, ejection '
        f"fractions {facts.ef_low:.0f} to {facts.ef_high:.0f} %.{notes} The clips themselves are read when the "
        "training starts.</span></p>"
    )


def result_html(made: Mapping[str, Any]) -> str:
    """What came of a training: the measures, the loss, samples, the card."""
    name, part = escape(made["weights"]), made["part"]
    head = (
        f"<p><b>The network {name} is ready</b>, {'a' if part == 'video' else 'an'} {PARTS[part]}: "
        f"{made['steps']:,} step{'' if made['steps'] == 1 else 's'} in {made['minutes']:.1f} minutes.</p>"
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in made["notes"])
    use = (
        f'<p><button type="button" class="ss-button" data-use-weights="{name}">Use it in Generate</button> '
        f"<small>or choose {name} there or under Many clips, or on the command line: "
        f"<code>python -m backend generate echo generate {part}={name}</code></small></p>"
    )
    sheet = ""
    if made["sheet"]:
        sheet = (
            '<figure><figcaption>Samples of its work</figcaption><img class="ss-image" '
            f'src="/api/artifacts/{escape(made["sheet"])}/image" alt="Samples of its work"></figure>'
        )
    return (
        f'<section class="ss-card ss-training-result">{head}{notes}{use}{_table(made)}'
        f'<div class="ss-columns">{sheet}{loss_html(made["losses"], made["steps"])}</div>'
        f"<details><summary>The card that lies beside the weights</summary><pre>{escape(made['card'])}</pre></details>"
        "</section>"
    )


def _table(made: Mapping[str, Any]) -> str:
    methods = [key for key in METHODS if any(key in row["values"] for row in made["rows"])]
    heads = "".join(
        f'<th scope="col" class="ss-number" title="{escape(METHODS[key][1])}">{METHODS[key][0]}</th>' for key in methods
    )
    rows = []
    for row in made["rows"]:
        cells = "".join(f'<td class="ss-number">{_value(row["values"].get(key))}</td>' for key in methods)
        rows.append(f'<tr><th scope="row">{escape(row["title"])}</th>{cells}</tr>')
    what = (
        "Peak signal-to-noise ratio after the round trip; higher is better."
        if made["part"] == "autoencoder"
        else "Weighted squared error of the denoised codes at noise level σ: lower is better, and 1 is what the best "
        "guess without a network gives. It does not tell how good the clips look."
    )
    return (
        f'<div class="ss-table-wrap"><table class="ss-table"><thead><tr><th scope="col">Held out</th>{heads}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div><p><small>{what} Means with 95 % bootstrap intervals "
        "over what was held out.</small></p>"
    )


def _value(measured: Mapping[str, Any] | None) -> str:
    if measured is None:
        return "not compared"
    mean, low, high = measured["mean"], measured["low"], measured["high"]
    return f"{mean:.3g}" if low is None else f"{mean:.3g} <small>[{low:.3g}, {high:.3g}]</small>"


def networks_html(
    networks: Sequence[WeightFile], stopped: Sequence[StoppedView], ask_into: str, resume_into: str
) -> str:
    """The parts of a generator on this machine, with their cards, and the trainings that were stopped."""
    rows = []
    for weight in networks:
        part = part_of(weight)
        if part not in PARTS and part not in OTHERS:
            continue
        name, short = escape(weight.name), weight.name.partition("/")[2]
        told = trained_minutes(weight)
        minutes = f"{told:g} min" if told is not None else "not stated"
        use = ""
        if part in PARTS:
            use = f'<button type="button" class="ss-button" data-use-weights="{name}">Use</button>'
        delete = "" if weight.shipped else ask_button(ask_into, f"delete:{short}", "Delete", f"Delete {weight.name}")
        rows.append(
            f'<tr data-network="{name}"><td><b>{name}</b><details><summary>Card</summary>'
            f"<pre>{escape(weight.card or 'It has no card.')}</pre></details></td>"
            f"<td>{'SynthScope' if weight.shipped else 'your own'}</td><td>{PARTS.get(part) or OTHERS[part]}</td>"
            f'<td>{escape(trained_on(weight) or "not stated")}</td><td class="ss-number">{minutes}</td>'
            f'<td class="ss-number">{size_text(weight.size)}</td><td class="ss-actions">{use} {delete}</td></tr>'
        )
    for left in stopped:
        go_on, spent, part = "", "unknown", ""
        if left.job is not None:
            go_on = (
                f'<button type="button" class="ss-button" data-fill="{resume_into}" data-again '
                f'data-value="{escape(left.job.id)}">Go on</button>'
            )
            spent = f"{left.fraction * left.minutes:.1f} of {left.minutes:g} min"
            part = PARTS.get(str(left.job.request.get("part", "")), "")
        discard = ask_button(ask_into, f"discard:{left.name}", "Discard", f"Discard {left.name}")
        rows.append(
            f'<tr data-stopped="{escape(left.name)}"><td><b>echo/{escape(left.name)}</b></td><td>stopped training</td>'
            f'<td>{part}</td><td>No weights yet; its checkpoint is kept.</td><td class="ss-number">{spent}</td>'
            f'<td></td><td class="ss-actions">{go_on} {discard}</td></tr>'
        )
    heads = "".join(f'<th scope="col">{title}</th>' for title in ("Name", "From", "Part", "Trained on"))
    numbers = "".join(f'<th scope="col" class="ss-number">{title}</th>' for title in ("Trained for", "Size"))
    return (
        '<section class="ss-section"><h2>Networks of the generator on this machine</h2><div class="ss-table-wrap">'
        f'<table class="ss-table ss-refiners"><thead><tr>{heads}{numbers}<th></th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )
