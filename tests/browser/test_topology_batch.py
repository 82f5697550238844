"""Many files in a browser: several and zipped files, bad ones, truths, sorting, looking, reload, cancel, labels."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.conftest import Watch
from tests.serving import Server

LONG_MS = 90_000


@pytest.fixture
def part(page: Page) -> Page:
    """The page with 'Many files' open."""
    page.goto(page.url.split("?")[0] + "?tab=topology&part=batch")
    page.get_by_role("button", name="Masks to repair").wait_for()
    return page


def lattice(path: Path, side: int, gap: int = 0, value: int = 255) -> Path:
    """Crossing bars, one of them broken at ``gap``."""
    mask = np.zeros((side, side), np.uint8)
    mask[12::48] = mask[13::48] = mask[14::48] = value
    mask[:, 20::64] = mask[:, 21::64] = mask[:, 22::64] = value
    if gap:
        mask[10:17, gap : gap + 4] = 0
    Image.fromarray(mask).save(path)
    return path


def choose(part: Page, paths: list[Path], zone: str = "Masks to repair") -> None:
    with part.expect_file_chooser() as chooser:
        part.get_by_role("button", name=zone).click()
    chooser.value.set_files(paths)


def repair_all(part: Page) -> None:
    button = part.get_by_role("button", name="Repair all")
    expect(button).to_be_enabled(timeout=LONG_MS)
    button.click()
    part.locator("ss-topology-batch table.files").wait_for(timeout=LONG_MS)


def test_several_files_good_and_bad_become_one_table(
    part: Page, tmp_path: Path, watch: Watch, server: Server, shot: Callable[[str], Path]
) -> None:
    watch.allow("400")
    (tmp_path / "notes.txt").write_text("no mask")
    bad = np.full((64, 64), 0.5, np.float32)
    bad[3, 4] = np.nan
    np.save(tmp_path / "map1.npy", bad)
    files = [lattice(tmp_path / f"scan{number}.png", 128 + 16 * number, 40) for number in (10, 2)]
    choose(part, [*files, tmp_path / "notes.txt", tmp_path / "map1.npy"])
    expect(part.get_by_text("3 files are ready, 1 refused")).to_be_visible(timeout=LONG_MS)
    names = part.locator("ss-upload-many").first.locator("li b")
    assert names.all_inner_texts() == ["map1.npy", "notes.txt", "scan2.png", "scan10.png"]
    shot("batch-chosen")
    repair_all(part)
    table = part.locator("ss-topology-batch")
    expect(table.get_by_text("2 of 4 files were repaired.")).to_be_visible()
    expect(table.locator("tr.problem")).to_have_count(2)
    expect(table.locator("tr.problem").first).to_contain_text("values that are not numbers")
    expect(table.locator("tr.problem").nth(1)).to_contain_text("This kind of file is not known here.")
    lines = table.locator("tr.line")
    assert lines.evaluate_all("rows => rows.map(row => row.dataset.number)") == ["3", "4"]
    expect(lines.first.locator(".file small")).to_have_text("scan2.png")
    expect(lines.first.locator('[data-column="size"]')).to_have_text("160 × 160")
    shot("batch-done")
    # Names of files are known to this browser only.
    assert "scan2" not in str(server.get("/api/jobs?system=topology"))
    assert "scan2" not in server.log.read_text()


def test_a_zip_with_truths_is_measured_sorted_and_downloaded(
    part: Page, tmp_path: Path, shot: Callable[[str], Path]
) -> None:
    for name, gap in (("masks.zip", 40), ("truths.zip", 0)):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for number in (1, 2, 3):
                path = lattice(tmp_path / "m.png", 96 + 32 * number, gap)
                archive.write(path, f"set/case{number}.png")
    choose(part, [tmp_path / "masks.zip"])
    expect(part.get_by_text("3 files to repair.")).to_be_visible(timeout=LONG_MS)
    choose(part, [tmp_path / "truths.zip"], "Their true masks, if there are any")
    expect(part.get_by_text("3 true masks, paired in the order of the names.")).to_be_visible(timeout=LONG_MS)
    repair_all(part)
    table = part.locator("ss-topology-batch")
    expect(table.locator(".means tbody tr")).to_have_count(5)
    expect(table.locator(".means")).to_contain_text("With so few files an interval says little.")
    title = table.locator('th[data-column="size"]')
    title.get_by_role("button").click()
    title.get_by_role("button").click()
    expect(title).to_have_attribute("aria-sort", "descending")
    lines = table.locator("tr.line")
    assert lines.evaluate_all("rows => rows.map(row => row.dataset.number)") == ["3", "2", "1"]
    lines.first.focus()
    part.keyboard.press("ArrowDown")
    part.keyboard.press("Enter")
    expect(table.locator("tr.details figure")).to_have_count(2)
    expect(table.locator('tr.line[aria-expanded="true"]')).to_have_attribute("data-number", "2")
    large = table.locator("tr.details img").first
    expect(large).to_have_js_property("naturalWidth", 160)
    table.locator(".pane").first.press("+")
    assert float(table.get_attribute("data-scale")) == pytest.approx(1.5)
    shot("batch-open")
    part.keyboard.press("0")
    lines.nth(1).press("Escape")
    expect(table.locator("tr.details")).to_have_count(0)
    with part.expect_download() as started:
        part.locator(".ss-downloads a", has_text="repaired-masks.zip").click()
    started.value.save_as(tmp_path / "made.zip")
    with zipfile.ZipFile(tmp_path / "made.zip") as archive:
        assert {"masks/0001-mask.png", "changes/0003-changes.csv", "summary.csv", "provenance.json"} <= set(
            archive.namelist()
        )


def test_a_reload_finds_the_batch_and_a_cancelled_one_keeps_what_is_finished(
    part: Page, tmp_path: Path, shot: Callable[[str], Path]
) -> None:
    choose(part, [lattice(tmp_path / f"{number:02d}.png", 96 if number < 3 else 3000) for number in range(1, 8)])
    button = part.get_by_role("button", name="Repair all")
    expect(button).to_be_enabled(timeout=LONG_MS)
    button.click()
    running = part.locator("ss-job").get_by_text(re.compile(r"File [3-7] of 7"))
    expect(running).to_be_visible(timeout=LONG_MS)
    part.reload()
    expect(running).to_be_visible(timeout=LONG_MS)
    part.locator("ss-job").get_by_role("button", name="Cancel").click()
    table = part.locator("ss-topology-batch")
    expect(
        table.get_by_text(re.compile(r"The batch was cancelled: \d of 7 files were finished and are kept."))
    ).to_be_visible(timeout=LONG_MS)
    assert table.locator("tr.line").count() >= 2
    part.get_by_role("button", name="Pack what is finished").click()
    expect(part.locator(".ss-downloads a", has_text="repaired-masks.zip")).to_be_visible(timeout=LONG_MS)
    shot("batch-cancelled")
    part.set_viewport_size({"width": 420, "height": 800})
    table.locator("tr.line").first.click()
    width = table.locator(".pane").first.evaluate("pane => pane.getBoundingClientRect().right")
    assert width <= 420
    assert part.evaluate("document.documentElement.scrollWidth") <= 420
    shot("batch-narrow")


def test_too_few_truths_and_an_empty_zip_are_told_before_anything_runs(
    part: Page, tmp_path: Path, watch: Watch
) -> None:
    watch.allow("400")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    choose(part, [tmp_path / "empty.zip"])
    expect(part.locator("ss-upload-many").first.get_by_text("This ZIP archive is empty.")).to_be_visible(
        timeout=LONG_MS
    )
    expect(part.get_by_role("button", name="Repair all")).to_be_disabled()
    part.get_by_role("button", name="Choose others").click()
    choose(part, [lattice(tmp_path / "a.png", 96), lattice(tmp_path / "b.png", 96)])
    choose(part, [lattice(tmp_path / "t.png", 96)], "Their true masks, if there are any")
    expect(part.get_by_text("There is 1 true mask for 2 files: give as many, or none.")).to_be_visible(timeout=LONG_MS)


def test_samples_are_chosen_in_one_click(part: Page) -> None:
    part.get_by_role("button", name="Try it with samples").click()
    expect(part.get_by_text(re.compile(r"\d files? to repair\."))).to_be_visible(timeout=LONG_MS)
    expect(part.get_by_role("button", name="Repair all")).to_be_enabled()


def test_each_label_by_itself_shows_a_row_a_label(page: Page, tmp_path: Path, shot: Callable[[str], Path]) -> None:
    page.goto(page.url.split("?")[0] + "?tab=topology")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Your own mask or probability map").click()
    first = np.asarray(Image.open(lattice(tmp_path / "m.png", 160, 40, value=3))).copy()
    first[80:, :][first[80:, :] > 0] = 7
    Image.fromarray(first).save(tmp_path / "labels.png")
    chooser.value.set_files([tmp_path / "labels.png"])
    choice = page.get_by_label("Label to repair")
    expect(choice).to_be_visible(timeout=LONG_MS)
    choice.click()
    page.get_by_role("option", name="each label by itself").click()
    page.get_by_role("button", name="Repair", exact=True).click()
    shown = page.locator(".ss-classes")
    expect(shown).to_contain_text("2 labels were refined, each by itself.", timeout=LONG_MS)
    assert [text.strip() for text in shown.locator("tbody th").all_inner_texts()] == ["3", "7"]
    expect(shown.locator("img")).to_have_count(3)
    expect(page.locator(".ss-downloads a", has_text="refined-labels.png")).to_be_visible()
    shot("classes")
