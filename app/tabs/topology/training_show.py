"""HTML of the "Your own refiner" part: masks, results, stopped trainings, and the refiners on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from app.components.downloads import size_text
from app.components.training_parts import ask_button, loss_html
from backend.errors import UserError
from backend.services.topology.training import MEASURES, METHODS

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime
    from backend.services.topology.training_list import RefinerView, StoppedView

THUMBNAILS = 24  # masks shown as pictures; more are counted


def masks_html(runtime: Runtime, shell: Shell, ids: Sequence[str], remove_into: str) -> tuple[str, int, bool]:
    """The dropped masks with what is wrong, how many dimensions they have (0: none yet), and whether training may go.

    ``remove_into`` is the box that the buttons fill with the id of the mask to take out.
    """
    from backend.services.topology.training_masks import check_together, look_at

    if not ids:
        return '<p class="ss-empty">No masks yet: drop some, or take phantoms to try it out.</p>', 0, False
    facts = look_at(runtime, ids)
    cards = []
    for number, (artifact_id, fact) in enumerate(zip(ids, facts, strict=True), 1):
        if number > THUMBNAILS and not fact.problem:
            continue
        sides = " × ".join(str(side) for side in fact.shape)
        words = f'<b class="ss-bad">{escape(fact.problem)}</b>' if fact.problem else f"{sides}, {fact.share:.1%} marked"
        picture = ""
        if runtime.artifacts.view(artifact_id).media_type.startswith("image/"):
            picture = f'<img src="/api/artifacts/{escape(artifact_id)}/image?side=128" alt="" loading="lazy">'
        cards.append(
            f'<li class="{"ss-bad" if fact.problem else ""}">{picture}<span><b>Mask {number}</b><small>{words}</small>'
            f'</span><button type="button" class="ss-icon" data-fill="{remove_into}" data-again title="Take it out" '
            f'data-value="{escape(artifact_id)}" aria-label="Take mask {number} out">×</button></li>'
        )
    hidden_ones = len(ids) - len(cards)
    more = f"<small>and {hidden_ones} more</small>" if hidden_ones > 0 else ""
    good = not any(fact.problem for fact in facts)
    said = ""
    try:
        notes = check_together([fact for fact in facts if not fact.problem])
        said = "".join(f"<p>{escape(note)}</p>" for note in notes)
    except UserError as error:
        good = False
        said = shell.error(error)
    shapes = {len(fact.shape) for fact in facts if not fact.problem}
    dimensions = shapes.pop() if len(shapes) == 1 else 0
    title = f"<p><b>{len(ids)} mask{'' if len(ids) == 1 else 's'}</b> {more}</p>"
    return f'{title}<ul class="ss-mask-list">{"".join(cards)}</ul>{said}', dimensions, good


def result_html(made: Mapping[str, Any]) -> str:
    """What came of a training: the table, the loss, the sample sheet, the card."""
    name = escape(made["weights"])
    wide = "two" if made["dimensions"] == 2 else "three"
    head = (
        f"<p><b>The refiner {name} is ready.</b> It learnt from {made['masks']} masks in {wide} dimensions: "
        f"{made['steps']:,} steps in {made['minutes']:.1f} minutes.</p>"
    )
    notes = "".join(f"<p>{escape(note)}</p>" for note in made["notes"])
    sheet = (
        f"<figure><figcaption>Clean mask | damaged by the simulated segmenter | refined</figcaption>"
        f'<img class="ss-image" src="/api/artifacts/{escape(made["sheet"])}/image" alt="Samples of its work"></figure>'
    )
    action = "refine" if made["dimensions"] == 2 else "refine_volume"
    use = (
        f'<p><button type="button" class="ss-button" data-use-weights="{name}">Use it in Repair one</button> '
        f"<small>or choose {name} under Weights there, or on the command line: "
        f"<code>python -m backend generate topology {action} weights={name} --input MASK</code></small></p>"
    )
    return (
        f'<section class="ss-card ss-training-result">{head}{notes}{use}{_table(made)}'
        f'<div class="ss-columns">{sheet}{loss_html(made["losses"], made["steps"])}</div>'
        f"<details><summary>The card that lies beside the weights</summary><pre>{escape(made['card'])}</pre></details>"
        f"</section>"
    )


def _table(made: Mapping[str, Any]) -> str:
    heads = "".join(
        f'<th scope="col" class="ss-number" title="{escape(meaning)}">{escape(title)}</th>'
        for title, meaning in MEASURES.values()
    )
    rows = []
    for row in made["rows"]:
        title, meaning = METHODS[row["method"]]
        cells = "".join(f'<td class="ss-number">{_value(row["measures"][key])}</td>' for key in MEASURES)
        rows.append(
            f'<tr data-method="{row["method"]}"><th scope="row" title="{escape(meaning)}">{title}</th>{cells}</tr>'
        )
    count = made["measured"]
    if made["held_out"]:
        where = f"on {count} mask{'' if count == 1 else 's'} that took no part in training"
    else:
        where = f"on the {count} masks of the training itself, too few to hold any out: read it as the best case"
    spread = "means with 95 % bootstrap intervals over the masks" if count > 1 else "one mask, so without an interval"
    connectivity = "8-connected" if made["dimensions"] == 2 else "26-connected"
    return (
        f'<div class="ss-table-wrap"><table class="ss-table"><thead><tr><th scope="col">Measured</th>{heads}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div><p><small>Measured {where}, damaged by a simulated "
        f"segmenter; {spread}. Foreground {connectivity}. For Dice and clDice 1 is best, for the others 0.</small></p>"
    )


def _value(measured: Mapping[str, Any]) -> str:
    mean, low, high = measured["mean"], measured["low"], measured["high"]
    return f"{mean:.3g}" if low is None else f"{mean:.3g} <small>[{low:.3g}, {high:.3g}]</small>"


def refiners_html(
    refiners: Sequence[RefinerView], stopped: Sequence[StoppedView], ask_into: str, resume_into: str
) -> str:
    """The refiners on this machine, with their cards, and the trainings that were stopped."""
    rows = []
    for view in refiners:
        minutes = f"{view.minutes:g} min" if view.minutes is not None else "not stated"
        use = f'<button type="button" class="ss-button" data-use-weights="{escape(view.name)}">Use</button>'
        delete = "" if view.shipped else ask_button(ask_into, f"delete:{view.short}", "Delete", f"Delete {view.name}")
        rows.append(
            f'<tr data-refiner="{escape(view.name)}"><td><b>{escape(view.name)}</b><details><summary>Card</summary>'
            f"<pre>{escape(view.card or 'It has no card.')}</pre></details></td>"
            f"<td>{'SynthScope' if view.shipped else 'your own'}</td><td>{view.dimensions}D</td>"
            f'<td>{escape(view.trained_on or "not stated")}</td><td class="ss-number">{minutes}</td>'
            f'<td class="ss-number">{size_text(view.size)}</td><td class="ss-actions">{use} {delete}</td></tr>'
        )
    for left in stopped:
        job = left.job
        go_on = ""
        if job is not None:
            go_on = (
                f'<button type="button" class="ss-button" data-fill="{resume_into}" data-again '
                f'data-value="{escape(job.id)}">Go on</button>'
            )
        discard = ask_button(ask_into, f"discard:{left.name}", "Discard", f"Discard {left.name}")
        spent = f"{left.fraction * left.minutes:.1f} of {left.minutes:g} min" if job is not None else "unknown"
        rows.append(
            f'<tr data-stopped="{escape(left.name)}"><td><b>topology/{escape(left.name)}</b></td><td>stopped training'
            f'</td><td></td><td>No weights yet; its checkpoint is kept.</td><td class="ss-number">{spent}</td><td></td>'
            f'<td class="ss-actions">{go_on} {discard}</td></tr>'
        )
    heads = "".join(f'<th scope="col">{title}</th>' for title in ("Name", "From", "For", "Trained on"))
    numbers = "".join(f'<th scope="col" class="ss-number">{title}</th>' for title in ("Trained for", "Size"))
    return (
        f'<section class="ss-section"><h2>Refiners on this machine</h2><div class="ss-table-wrap">'
        f'<table class="ss-table ss-refiners"><thead><tr>{heads}{numbers}<th></th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def errors_html(recipe_title: str, errors: Mapping[str, Any]) -> str:
    """One line that says what damage is learnt from."""
    if not errors:
        return f"<p><small>{escape(recipe_title)}, with the usual settings. The laboratory shows them.</small></p>"
    listed = ", ".join(f"{escape(name.replace('_', ' '))} {_plain(value)}" for name, value in errors.items())
    return f'<p class="ss-ok">Errors from the laboratory: {escape(recipe_title)}, {listed}.</p>'


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(_plain(part) for part in value)
    return f"{value:g}" if isinstance(value, int | float) else escape(str(value))
