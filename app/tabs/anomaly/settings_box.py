"""The choices that one scan and many scans share: how to look, where to cut, which weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, get_args

import gradio as gr

from app.components.html import html
from backend.errors import UserError
from backend.services.anomaly.requests import MOST_STEPS, SEVERITIES, STRIDES, WEIGHTS, DetectRequest, Score
from backend.weights import train_command

if TYPE_CHECKING:
    from backend.runtime import Runtime

SEQUENCES = [("told from the picture", "auto"), ("FLAIR", "flair"), ("T1", "t1"), ("T2", "t2"), ("another", "unknown")]
SCORES = {
    "absolute": "any change, |input − restored|",
    "brighter": "only what is brighter than restored",
    "combined": "combined: smoothed grey values and change",
}
DEFAULT = DetectRequest("")


@dataclass(frozen=True)
class Settings:
    """The components, in the order of :data:`NAMES`."""

    sequence: gr.Dropdown
    score: gr.Dropdown
    severities: gr.Textbox
    steps: gr.Slider
    stride: gr.Slider
    rate: gr.Number
    threshold: gr.Number
    least_ml: gr.Number
    names: gr.Checkbox
    weights: gr.Dropdown

    @property
    def components(self) -> list[Any]:
        """All of them, for inputs and outputs of events."""
        return [getattr(self, name) for name in NAMES]


NAMES = (
    "sequence",
    "score",
    "severities",
    "steps",
    "stride",
    "rate",
    "threshold",
    "least_ml",
    "names",
    "weights",
)


def settings_box(runtime: Runtime) -> Settings:
    """Draw the components."""
    with gr.Row():
        sequence = gr.Dropdown(
            SEQUENCES, value=DEFAULT.sequence, label="Sequence", info="Tells the network what it sees"
        )
        score = gr.Dropdown(
            [(SCORES.get(name, name), name) for name in get_args(Score)],
            value=DEFAULT.score,
            label="Score",
            info="FLAIR lesions are bright, others need not be",
        )
        rate = gr.Number(
            100 * DEFAULT.rate,
            label="False-positive rate, %",
            minimum=0.0001,
            maximum=99,
            info="Share of healthy voxels that the threshold lets through",
        )
        threshold = gr.Number(
            DEFAULT.threshold, label="Threshold on the score", minimum=0, info="Above 0 it is taken instead of the rate"
        )
        least_ml = gr.Number(DEFAULT.least_ml, label="Leave out findings below, ml", minimum=0)
    with gr.Row():
        severities = gr.Textbox(
            ", ".join(f"{value:g}" for value in SEVERITIES),
            label="Severities of the ensemble",
            info="0 to 1, one restoration each",
        )
        steps = gr.Slider(
            1, MOST_STEPS, DEFAULT.steps, step=1, label="Steps of each restoration", info="1 as published"
        )
        stride = gr.Slider(
            *STRIDES, DEFAULT.stride, step=8, label="Distance of windows, px", info="Smaller is smoother and slower"
        )
        listed = weight_names(runtime)
        weights = gr.Dropdown(
            listed,
            value=listed[0][1],
            label="Weights",
            info="How many slices they see at once",
            allow_custom_value=True,
        )
        names = gr.Checkbox(DEFAULT.names, label="Register to MNI152", info="For MNI coordinates and names of regions")
    return Settings(sequence, score, severities, steps, stride, rate, threshold, least_ml, names, weights)


def wishes(values: tuple[Any, ...]) -> dict[str, Any]:
    """Fields of a request from the values of the components. Raises ``UserError`` for what is no number."""
    given = dict(zip(NAMES, values, strict=True))
    try:
        severities = tuple(
            float(part) for part in str(given["severities"]).replace(";", ",").split(",") if part.strip()
        )
    except ValueError:
        raise UserError(
            "The severities cannot be read.",
            "They are numbers with commas between them.",
            "Take 0.005, 0.051, 0.27, 0.73.",
        ) from None
    return {
        "sequence": given["sequence"],
        "score": given["score"],
        "severities": severities,
        "steps": int(given["steps"]),
        "stride": int(given["stride"]),
        "rate": float(given["rate"] or 0) / 100,
        "threshold": float(given["threshold"] or 0),
        "least_ml": float(given["least_ml"] or 0),
        "names": bool(given["names"]),
        "weights": given["weights"],
    }


def shown_again(asked: Mapping[str, Any]) -> list[Any]:
    """Values of the components for a request that is to be made again; what it does not name stays."""
    values = {**asked}
    if "severities" in values:
        values["severities"] = ", ".join(f"{value:g}" for value in values["severities"])
    if "rate" in values:
        values["rate"] = 100 * values["rate"]
    return [values.get(name, gr.skip()) for name in NAMES]


def weight_names(runtime: Runtime) -> list[tuple[str, str]]:
    """Title and name of the restorers on this machine, the default first, so that a job can say how to get it."""
    found = {}
    for weight in runtime.weights.available():
        arguments = weight.config.get("arguments")
        if weight.name.startswith("anomaly/") and isinstance(arguments, dict) and arguments.get("kind") == "restorer":
            found[weight.name] = int(arguments.get("neighbours", 0))
    ordered = [WEIGHTS, *(name for name in found if name != WEIGHTS)]
    return [(f"{name}, {_seen(found[name])}" if name in found else name, name) for name in ordered]


def say_absent(runtime: Runtime) -> None:
    """Draw a sentence where the default weights are not installed, else nothing."""
    try:
        runtime.weights.find(WEIGHTS)
    except UserError:
        html(
            f'<section class="ss-card" role="note"><p>This part needs weights: <code>{escape(WEIGHTS)}</code> is not '
            f"among those of this version. <code>{escape(train_command(WEIGHTS))}</code> trains them.</p></section>"
        )


def _seen(neighbours: int) -> str:
    return "2D" if not neighbours else f"2.5D, {1 + 2 * neighbours} slices"
