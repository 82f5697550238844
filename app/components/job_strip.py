"""The strip that shows a job while it waits, runs and ends: bar, steps, time left, queue position, preview, cancel.

A script draws it from ``/api/jobs/{id}``, so it costs the server nothing between polls and comes back after a reload.
When the job ends, the script writes its id into a hidden textbox, whose change event lets the tab draw the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.components.errors import guarded
from app.components.html import html
from app.components.upload import hidden
from backend.identity import LOCAL
from backend.jobs.contract import JobState, JobView

if TYPE_CHECKING:
    from backend.runtime import Runtime


class JobSlot:
    """The place in a tab where one job of one system is shown. ``job_id`` is a hidden textbox with the job's id."""

    def __init__(
        self, runtime: Runtime, system: str, actions: Sequence[str], elem_id: str, estimate: bool = True
    ) -> None:
        self._runtime = runtime
        self.system = system
        self.actions = tuple(actions)
        self._estimate = "" if estimate else " quiet"
        self._final_id = f"{elem_id}-final"
        self.job_id = hidden(f"{elem_id}-job")
        self._final = hidden(self._final_id)
        self.strip = html(self._html(""))

    def _html(self, job_id: str) -> str:
        return (
            f'<ss-job system="{escape(self.system)}" actions="{escape(" ".join(self.actions))}" job="{escape(job_id)}" '
            f'into="{self._final_id}"{self._estimate}></ss-job>'
        )

    def submit(
        self,
        event: Callable[..., Any],
        action: str | Mapping[type, str],
        request: Callable[..., Any],
        inputs: Sequence[gr.components.Component] = (),
    ) -> Any:
        """On ``event`` (such as ``button.click``) queue ``action`` with the dataclass ``request(*input values)``.

        Where ``request`` makes requests of several types, ``action`` names the action of each. It may raise
        ``UserError``, which is shown and queues nothing.
        """
        for name in [action] if isinstance(action, str) else action.values():
            if self.actions and name not in self.actions:
                raise ValueError(f"this slot shows {self.actions}, not {name!r}")

        def start(*values: Any) -> tuple[str, str]:
            asked = request(*values)
            name = action if isinstance(action, str) else action[type(asked)]
            job_id = self._runtime.jobs.submit(self.system, name, asked, actor=LOCAL)
            return job_id, self._html(job_id)

        return event(
            guarded(start),
            list(inputs),
            [self.job_id, self.strip],
            show_progress="hidden",
            api_visibility="private",
        )

    def finished(
        self,
        show: Callable[[JobView], Any],
        outputs: Sequence[gr.components.Component],
        states: Iterable[JobState] = (JobState.DONE,),
    ) -> Any:
        """When the shown job ends in one of ``states``, also after a reload, put ``show(job)`` into ``outputs``."""
        wanted = frozenset(states)
        targets = list(outputs)

        def render(job_id: str) -> Any:
            job = self._runtime.jobs.view(job_id) if job_id else None
            if job is None or job.system != self.system or job.state not in wanted:
                return [gr.skip()] * len(targets) if len(targets) > 1 else gr.skip()
            return show(job)

        return self._final.change(
            guarded(render), [self._final], targets, show_progress="hidden", api_visibility="private"
        )
