"""Joint video-image diffusion: at every step of the reverse process one of two models denoises the same state.

The image model was trained on frames and gives each its quality, the video model on clips and keeps them together.
Which one works at which step is data: a schedule. The paper names the idea, its schedules are not known to us. The
models take turns on one state, and no noise is drawn anew between them (our choice).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

VIDEO, IMAGE = "V", "I"
NAMES = ("video", "image", "alternate", "image_last(k)", "image_first(k)", "snr_below(x)", "snr_above(x)")
"""What :func:`parse_schedule` understands besides letters."""


def parse_schedule(text: str, levels: Sequence[float]) -> str:
    """One letter a step, ``V`` or ``I``, for noise levels σ of a run, without the 0 at its end.

    ``text``: letters, spread evenly over the steps when there are more or fewer; or ``video``, ``image``,
    ``alternate`` (beginning with the video model), ``image_last(k)``, ``image_first(k)``, or the image model where the
    signal-to-noise ratio 1/σ² is below or above a number: ``snr_below(x)``, ``snr_above(x)``. Raises ``ValueError`` on
    anything else.
    """
    steps = len(levels)
    if steps < 1:
        raise ValueError("a schedule needs at least one step")
    text = text.strip()
    letters = re.sub(r"[\s,·-]", "", text).upper()
    if letters and set(letters) <= {VIDEO, IMAGE}:
        return "".join(letters[step * len(letters) // steps] for step in range(steps))
    named = re.fullmatch(r"([a-z_]+)\s*(?:\(\s*([0-9.eE+-]+)\s*\))?", text.lower())
    rule = _RULES.get(named.group(1)) if named else None
    if named is None or rule is None or (named.group(2) is not None) != (named.group(1) not in _BARE):
        raise ValueError(f"no schedule is called {text!r}; there are letters V and I, and {', '.join(NAMES)}")
    try:
        number = float(named.group(2) or 0)
    except ValueError:
        raise ValueError(f"{named.group(2)!r} is no number") from None
    return "".join(IMAGE if rule(step, steps, 1 / level**2, number) else VIDEO for step, level in enumerate(levels))


_RULES: dict[str, Callable[[int, int, float, float], bool]] = {
    "video": lambda step, steps, snr, number: False,
    "image": lambda step, steps, snr, number: True,
    "alternate": lambda step, steps, snr, number: step % 2 == 1,
    "image_last": lambda step, steps, snr, number: step >= steps - number,
    "image_first": lambda step, steps, snr, number: step < number,
    "snr_below": lambda step, steps, snr, number: snr < number,
    "snr_above": lambda step, steps, snr, number: snr > number,
}
_BARE = ("video", "image", "alternate")
