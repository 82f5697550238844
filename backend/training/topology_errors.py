"""The settings of the synthetic errors as a person gives them, checked, and what may be chosen.

Imports nothing heavy on top, so that the page can take its sliders' ends from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backend.errors import UserError

if TYPE_CHECKING:
    from models.topology.perturb import PerturbationConfig


@dataclass(frozen=True)
class Setting:
    """One setting of the errors: its ends, whether it is a range of two numbers, and which recipe it acts in."""

    title: str
    low: float
    high: float
    recipe: str
    meaning: str
    whole: bool = False
    pair: bool = False


SETTINGS: dict[str, Setting] = {
    "order": Setting("Order", 0, 16, "polynomial", "Highest order of the functions on each axis.", whole=True),
    "slope": Setting("Strength", 0.5, 5, "polynomial", "How strongly the field acts; 1.5 as published."),
    "deleted": Setting("Deleted share", 0, 1, "polynomial", "Other draws are rejected and drawn again.", pair=True),
    "window": Setting("Window, px", 16, 256, "polynomial", "Side of the window that the field acts in.", whole=True),
    "blobs": Setting("Blobs", 0, 40, "polynomial", "False spots on the background.", whole=True, pair=True),
    "second_field": Setting("Second field", 0, 1, "polynomial", "Share of samples with a field on the background."),
    "box": Setting("Box", 0, 1, "polynomial", "Share of samples with a box set to zero."),
    "strength": Setting("Strength", 0, 3, "clustered", "How far edges are moved, in half-widths.", pair=True),
    "orders": Setting("Order", 0, 16, "clustered", "Orders of the field that some samples get.", whole=True, pair=True),
    "patches": Setting("Patches", 0, 1, "clustered", "Share of samples with patches filled or lost."),
    "soft_share": Setting("Soft share", 0, 1, "clustered", "Share of samples that stay probabilities."),
}


def perturbation_config(recipe: str, errors: Mapping[str, Any]) -> PerturbationConfig:
    """The settings for ``models.topology.perturb``: ``errors`` are those that differ from the defaults.

    Raises ``UserError`` on a recipe, family or setting that does not exist, or a value outside its ends.
    """
    from models.topology.families import FAMILIES, MIXTURE
    from models.topology.perturb import RECIPES, PerturbationConfig

    if recipe not in RECIPES:
        raise UserError(f"There is no recipe called {recipe!r}.", what_to_do=f"Choose {' or '.join(RECIPES)}.")
    values: dict[str, Any] = {}
    for name, value in errors.items():
        if name == "family":
            families = [*FAMILIES, MIXTURE]
            if value not in families:
                raise UserError(f"There is no family called {value!r}.", what_to_do=f"There are {', '.join(families)}.")
            values[name] = value
        elif name in SETTINGS:
            values[name] = _checked(name, SETTINGS[name], value)
        else:
            known = ", ".join(["family", *SETTINGS])
            raise UserError(f"There is no setting of the errors called {name!r}.", what_to_do=f"There are {known}.")
    return PerturbationConfig(recipe=recipe, **values)


def _checked(name: str, setting: Setting, value: Any) -> Any:
    given = list(value) if isinstance(value, list | tuple) else [value]
    try:
        numbers = [float(number) for number in given]
    except (TypeError, ValueError):
        numbers = []
    within = all(setting.low <= number <= setting.high for number in numbers)  # also false for NaN
    if len(numbers) != 1 + setting.pair or not within or numbers != sorted(numbers):
        ends = f"from {setting.low:g} to {setting.high:g}"
        wanted = f"two numbers {ends}, the smaller first" if setting.pair else f"a number {ends}"
        raise UserError(f"The setting {name!r} of the errors cannot be used.", f"It is {wanted}.", "Change it.")
    kept = [int(number) if setting.whole else number for number in numbers]
    return tuple(kept) if setting.pair else kept[0]
