"""Gradio starts without its developer's extras, and does all that it does for users."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import app
import gradio, gradio.component_meta, gradio.caching
written = []
gradio.component_meta.Path = lambda *a, **k: written.append(a)
class Mine(gradio.HTML):
    pass
print("stubs", len(written))
print("pandas", "pandas" in sys.modules)
import pandas
frame = pandas.DataFrame({"a": [1, 2]})
kind = type(gradio.caching.pd.DataFrame({"a": [1]})).__name__
print("late", kind, isinstance(frame, gradio.caching.pd.DataFrame))
print("quiet", gradio.analytics.analytics_enabled())
"""


def test_no_stub_is_written_and_pandas_comes_when_it_is_needed() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:4] == ["stubs 0", "pandas False", "late DataFrame True", "quiet False"]


def test_preparing_twice_changes_nothing() -> None:
    from app.lean import _Finder, prepare

    prepare()
    prepare()
    assert sum(isinstance(finder, _Finder) for finder in sys.meta_path) == 1
    assert prepare.__doc__


def test_a_module_that_is_not_concerned_is_left_to_the_others() -> None:
    from app.lean import _Finder

    assert _Finder().find_spec("json", None) is None
    assert "gradio" in sys.modules or _Finder().find_spec("gradio", None) is None
