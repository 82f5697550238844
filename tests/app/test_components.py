"""Parts that tabs share: what they say, and that nothing from outside becomes markup."""

from __future__ import annotations

import logging
from pathlib import Path

import gradio as gr
import pytest

from app.components.downloads import Downloads, size_text
from app.components.errors import error_html, guarded
from app.components.provenance_card import card_html
from app.components.sample_strip import strip_html
from app.components.shell import Shell
from app.components.shortcuts import Shortcuts
from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import ArtifactView
from backend.notices import RESEARCH_ONLY
from backend.provenance import Provenance
from backend.runtime import Runtime
from backend.samples import Sample

EVIL = '<img src=x onerror="alert(1)">'


def stored(runtime: Runtime, *, synthetic: bool = True, kind: str = "image", **properties: object) -> ArtifactView:
    return runtime.artifacts.add(
        lambda path: Path(path).write_bytes(b"data"),
        name="result.png",
        media_type="image/png",
        kind=kind,
        synthetic=synthetic,
        provenance=Provenance.now(
            system="toy",
            action="draw",
            synthetic=synthetic,
            seed=41,
            sampler="ddim",
            steps=25,
            request={"seed": 41, "text": EVIL},
            weights={"toy/net": "ab" * 32},
            parents=("parent-id",),
        ),
        actor=LOCAL,
        properties=properties,
    )


def test_a_card_tells_where_a_thing_came_from(runtime: Runtime) -> None:
    view = stored(runtime)
    card = card_html(view)
    for part in ("toy · draw", "41", "ddim, 25 steps", "toy/net", "ab" * 6, "parent-id", "local", RESEARCH_ONLY):
        assert part in card
    assert view.sha256[:12] in card
    assert EVIL not in card
    assert "Run again" not in card
    assert "Run again with this seed" in card_html(view, "box")


@pytest.mark.parametrize(
    ("synthetic", "kind", "properties", "word"),
    [
        (True, "image", {}, "synthetic"),
        (True, "sample", {"label": "phantom"}, "phantom"),
        (False, "sample", {"label": "real"}, "real sample"),
        (False, "upload", {}, "uploaded"),
        (False, "mask", {}, "derived"),
    ],
)
def test_a_card_says_what_a_thing_is(
    runtime: Runtime, synthetic: bool, kind: str, properties: dict[str, str], word: str
) -> None:
    card = card_html(stored(runtime, synthetic=synthetic, kind=kind, **properties))
    assert f">{word}</span>" in card


def test_downloads_are_links_by_id_without_what_is_gone(runtime: Runtime) -> None:
    view = stored(runtime)
    with gr.Blocks():
        downloads = Downloads(runtime, [view.id])
    shown = downloads.render([view.id, "gone"])
    assert shown.count("<a ") == 1
    assert f'href="/api/artifacts/{view.id}"' in shown
    assert RESEARCH_ONLY in shown
    assert downloads.render(["gone"]) == ""
    assert downloads.html.value == shown


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 << 20, "3.0 MiB"), (5 << 30, "5.00 GiB")]
)
def test_sizes_are_told_in_binary_units(size: int, text: str) -> None:
    assert size_text(size) == text


def test_a_sample_that_is_not_installed_says_how_to_get_it() -> None:
    absent = Sample("a", EVIL, "slide", "a source", "CC0", None, "python -m pip install a-pack")
    there = Sample("b", "Phantom vessels", "mask", "drawn", "free", None, phantom=True)
    shown = strip_html("box", [absent, there])
    assert "python -m pip install a-pack" in shown
    assert EVIL not in shown
    assert shown.count("<button") == 1
    assert 'data-fill="box" data-value="b"' in shown
    assert ">phantom</span>" in shown


def test_shortcuts_are_listed_by_section() -> None:
    keys = Shortcuts()
    keys.add("Slides", {"1 … 4": "×5, ×10, ×20, ×40"})
    shown = keys.html()
    assert shown.index("Everywhere") < shown.index("Slides")
    assert "<kbd>1</kbd> … <kbd>4</kbd>" in shown


def test_the_sentences_of_an_error_are_escaped() -> None:
    assert EVIL not in error_html(UserError(EVIL, EVIL, EVIL))


def test_a_mistake_is_told_and_a_bug_is_hidden_behind_an_id(caplog: pytest.LogCaptureFixture) -> None:
    def mistake() -> None:
        raise UserError("The mask is empty.", "It has no foreground.", "Choose another.")

    def bug() -> None:
        raise KeyError("secret")

    with pytest.raises(gr.Error, match="The mask is empty"):
        guarded(mistake)()
    with caplog.at_level(logging.ERROR), pytest.raises(gr.Error) as raised:
        guarded(bug)()
    assert "secret" not in str(raised.value)
    error_id = str(raised.value).split("id ")[-1].rstrip(".'\"")
    assert error_id
    assert error_id in caplog.text


def test_every_part_gets_an_id_of_its_own(runtime: Runtime) -> None:
    shell = Shell(runtime)
    with gr.Blocks():
        boxes = [shell.upload("One"), shell.upload("Two"), shell.hidden(), shell.samples([])]
        slots = [shell.job("toy"), shell.job("toy")]
    ids = [box.elem_id for box in boxes] + [slot.job_id.elem_id for slot in slots]
    assert len(set(ids)) == len(ids)


def test_a_slot_takes_only_the_actions_it_shows(runtime: Runtime) -> None:
    shell = Shell(runtime)
    with gr.Blocks():
        button = gr.Button()
        slot = shell.job("toy", actions=("steps",))
        with pytest.raises(ValueError, match="shows"):
            slot.submit(button.click, "draw", dict)


def test_parts_of_a_tab_name_their_jobs_and_none_twice(runtime: Runtime) -> None:
    from app.components.parts import Part, parts

    shell = Shell(runtime)
    built: list[str] = []
    listed = [
        Part("one", "One", lambda runtime, shell: built.append("one"), ("steps",)),
        Part("two", "Two", lambda runtime, shell: built.append("two"), ("fail",)),
    ]
    with gr.Blocks() as page:
        parts(runtime, shell, "toy", listed)
    assert built == ["one", "two"]
    ids = [item["props"].get("elem_id") for item in page.get_config_file()["components"]]
    assert {"ss-parts-toy", "ss-part-toy-one", "ss-part-toy-two"} <= set(ids)
    with gr.Blocks(), pytest.raises(ValueError, match="show the same action"):
        parts(runtime, shell, "toy", [listed[0], listed[0]])


def test_a_strip_takes_the_action_that_fits_the_request(runtime: Runtime) -> None:
    shell = Shell(runtime)
    with gr.Blocks():
        slot = shell.job("toy", actions=("steps",), estimate=False)
        with pytest.raises(ValueError, match="not 'fail'"):
            slot.submit(gr.Button().click, {dict: "steps", list: "fail"}, dict)
    assert " quiet" in slot.strip.value


def test_a_volume_view_names_files_by_their_ids_and_refuses_unknown_colours() -> None:
    from app.components.volume_view import Layer, Pane, volume_view_html

    overlay = Layer("abc", id="heat", title=EVIL, colormap="magma", opacity=0.5)
    shown = volume_view_html(
        [Pane("Scan", Layer("def"), [overlay]), Pane("Labels", Layer("ghi", labels={3: "#ff0000"}))]
    )
    assert EVIL not in shown
    assert "&quot;artifact&quot;: &quot;abc&quot;" in shown
    assert "&quot;3&quot;: &quot;#ff0000&quot;" in shown
    for wrong in ({"colormap": "jet"}, {"opacity": 2.0}):
        with pytest.raises(ValueError, match=r"colour map|opacity"):
            Layer("abc", **wrong)
