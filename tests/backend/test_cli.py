"""The command line: every command does what its help says, mistakes are sentences with exit status 2."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from backend.catalogue import CATALOGUE
from backend.cli.program import app, main
from backend.cli.values import fill, parse
from backend.errors import UserError
from backend.identity import LOCAL
from backend.runtime import Runtime
from backend.settings import Settings, get_settings
from models.phantoms import curvilinear

ROOT = Path(__file__).resolve().parents[2]
TINY = "topology/tiny"


@pytest.fixture
def tiny() -> str:
    """A real refiner, untrained and very small, as a weight of one's own. Returns its name."""
    import torch

    from backend.training.checkpoint import write_weights
    from models.topology.refiner import Refiner

    torch.manual_seed(0)
    model = Refiner(dimensions=2, widths=(8, 16))
    folder = get_settings().home / "weights" / TINY
    folder.mkdir(parents=True)
    config = {"class": "models.topology.refiner:Refiner", "arguments": model.arguments}
    write_weights(folder, model, config, "# Tiny refiner\n\n## Licence\n\nNone.\n")
    return TINY


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    path = tmp_path / "mask.png"
    Image.fromarray(curvilinear.sample("membranes", 96, 1).astype(np.uint8) * 255).save(path)
    return path


def run(*words: str, status: int = 0) -> str:
    """Standard output of a command that is to end with ``status``."""
    result = CliRunner().invoke(app, list(words), prog_name="python -m backend")
    assert result.exit_code == status, result.output + repr(result.exception)
    return result.stdout


def complaint(*words: str) -> str:
    """Standard error of a command that is to be refused."""
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 2, result.output + repr(result.exception)
    assert "Traceback" not in result.output
    return re.sub(r"\s+", " ", result.stderr)


def commands() -> list[tuple[str, ...]]:
    """Every command by its words."""
    import typer.main

    def walk(group: object, words: tuple[str, ...]) -> list[tuple[str, ...]]:
        found = []
        for name, command in getattr(group, "commands", {}).items():
            found += walk(command, (*words, name)) or [(*words, name)]
        return found

    return walk(typer.main.get_command(app), ())


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_help_has_an_example_that_parses(words: tuple[str, ...]) -> None:
    text = re.sub(r"\s+", " ", run(*words, "--help"))
    assert (
        f"Example: python -m backend {words[0]}" in text
        or f"Example: SYNTHSCOPE_DEVICE=cpu python -m backend {words[0]}" in text
    )


def test_alone_it_explains_itself() -> None:
    text = CliRunner().invoke(app, []).output
    assert all(words[0] in text for words in commands())
    assert "Not for diagnosis" in text


def test_a_real_process_prints_plain_sentences_and_ends_with_two() -> None:
    done = subprocess.run([sys.executable, "-m", "backend", "generate", "nope", "x"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[0] == "There is no system called 'nope'."
    assert done.stderr.splitlines()[1].startswith("Choose one of: slides")


def test_main_returns_the_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["systems"]) == 0
    assert main(["generate", "nope", "x"]) == 2
    assert main(["generate", "--nope"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_the_command_line_starts_without_torch() -> None:
    code = (
        "import sys, backend.cli.program; sys.exit(any(m in sys.modules for m in ('torch', 'scipy', 'cv2', 'gradio')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_systems() -> None:
    listed = json.loads(run("systems", "--json"))
    assert [item["system"] for item in listed] == [system.name for system in CATALOGUE]
    assert "refine" in run("systems")


def test_samples() -> None:
    listed = json.loads(run("samples", "--kind", "mask", "--json"))
    assert {item["kind"] for item in listed} == {"mask"}
    assert "phantom-mortar-7" in run("samples")


def test_settings_hide_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHSCOPE_DATABASE_URL", "postgresql://me:geheim@host/db")
    monkeypatch.setenv("SYNTHSCOPE_DEVICE", "cpu")
    get_settings.cache_clear()
    text = run("settings")
    assert "geheim" not in text
    assert re.search(r"SYNTHSCOPE_DEVICE +cpu", text)
    assert all(f"SYNTHSCOPE_{name.upper()}" in text for name in Settings.model_fields)


def test_weights(tiny: str) -> None:
    (found,) = [item for item in json.loads(run("weights", "list", "--json")) if item["origin"] == "yours"]
    assert found["name"] == tiny
    run("weights", "verify")
    file = get_settings().home / "weights" / tiny / "model.safetensors"
    file.write_bytes(file.read_bytes() + b" ")
    assert "topology/tiny" in CliRunner().invoke(app, ["weights", "verify"]).stderr
    run("weights", "verify", status=1)


def test_generate_runs_a_job_and_copies_its_results(tiny: str, mask: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    mask = mask.rename(mask.with_name("Zyxwillow.png"))
    words = ("generate", "topology", "refine", f"weights={tiny}", "threshold=0.4", "--input", str(mask), "--json")
    result = json.loads(run(*words, "--out", str(out)))
    assert result["result"]["threshold"] == 0.4
    assert {Path(path).parent for path in result["files"]} == {out}
    with Runtime.open(start_jobs=False) as runtime:
        job = runtime.jobs.view(result["job"])
        assert (job.state, job.created_by) == ("done", "command line")
        stored = {hashlib.sha256(runtime.artifacts.path(item).read_bytes()).hexdigest() for item in job.artifacts}
    assert {hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()} == stored
    run(*words, "--out", str(out))
    assert len(list(out.iterdir())) == 2 * len(stored), "a second run overwrites nothing"
    assert "Zyxwillow" not in run("artifacts", "list", "--kind", "upload", "--json"), "file names are not kept"


def test_generate_on_a_sample_and_replay(tiny: str) -> None:
    made = json.loads(
        run("generate", "topology", "refine", f"weights={tiny}", "--sample", "phantom-mortar-7", "--json")
    )["result"]
    lines = run("generate", "--replay", made["mask"]).splitlines()
    assert len(lines) >= 3
    assert all(line.endswith(": identical") for line in lines)
    with Runtime.open(start_jobs=False) as runtime:
        path = runtime.artifacts.path(made["mask"])
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    text = run("generate", "--replay", made["mask"], status=1)
    assert text.count("Its bytes differ.") == 1


def test_generate_takes_a_folder_a_zip_and_single_files_for_a_batch(tiny: str, mask: Path, tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    for number in (10, 2):
        shutil.copy(mask, folder / f"Zyxwillow{number}.png")
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(mask, "inside/a.png")
    inputs = ("--input", str(folder), "--input", str(tmp_path / "more.zip"), "--input", f"truths={folder}")
    words = ("generate", "topology", "batch", f"weights={tiny}", *inputs, "--input", f"truths={mask}", "--json")
    out = tmp_path / "out"
    made = json.loads(run(*words, "--out", str(out)))
    assert [row["number"] for row in made["result"]["rows"]] == [1, 2, 3]
    assert made["result"]["means"][0]["name"] == "dice"
    assert (out / "repaired-masks.zip").is_file()
    assert "Zyxwillow" not in run("artifacts", "list", "--kind", "upload", "--json")
    (folder / "notes.txt").write_text("no mask")
    told = complaint("generate", "topology", "batch", "--input", str(folder))
    assert "1 of 3 files cannot be taken." in told
    assert "notes.txt: This kind of file is not known here." in told


def test_what_generate_refuses(tiny: str, mask: Path, tmp_path: Path) -> None:
    base = ("generate", "topology", "refine")
    assert "Name a system and an action." in complaint("generate")
    assert "can do: refine" in complaint("generate", "topology")
    assert "no value called 'blur'" in complaint(*base, "blur=1")
    assert "is not a value" in complaint(*base, "blur")
    assert "input file does not exist" in complaint(*base, "--input", str(tmp_path / "absent.png"))
    assert "no such sample" in complaint(*base, "--sample", "absent")
    assert "'source' is given twice" in complaint(*base, "--input", str(mask), "--sample", "phantom-mortar-7")
    assert "threshold" in complaint(*base, "threshold=high", "--input", str(mask))
    assert "not installed" in complaint(*base, "weights=topology/absent", "--input", str(mask))
    assert "--replay stands alone" in complaint(*base, "--replay", "x")
    assert "brought in, not made" in complaint("generate", "--replay", _upload(mask))
    text = tmp_path / "note.png"
    text.write_text("this is no picture")
    assert "Traceback" not in complaint(*base, "--input", str(text))


def _upload(path: Path) -> str:
    from backend.media.intake import accept_upload

    with Runtime.open(start_jobs=False) as runtime:
        return accept_upload(runtime, path, filename=path.name, actor=LOCAL).id


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process on Windows")
def test_ctrl_c_cancels_the_job(tiny: str, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    tile = curvilinear.sample("membranes", 256, 1).astype(np.uint8) * 255
    Image.fromarray(np.tile(tile, (14, 14))).save(large)
    command = [
        sys.executable,
        "-m",
        "backend",
        "generate",
        "topology",
        "refine",
        f"weights={tiny}",
        "--input",
        str(large),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    with Runtime.open(start_jobs=False) as runtime:
        deadline = time.monotonic() + 120
        while not any(job.state == "running" for job in runtime.jobs.list()):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
        (job,) = runtime.jobs.list()
        assert job.state == "cancelled", said
        assert not job.artifacts
    assert process.returncode == 130
    assert "Traceback" not in said


def test_audit(mask: Path, tmp_path: Path) -> None:
    _upload(mask)
    events = json.loads(run("audit", "list", "--json"))
    assert [event["action"] for event in events][-1:] == ["artifact.add"]
    head = run("audit", "head").strip()
    assert f"Head {head}" in run("audit", "verify")
    run("audit", "verify", "--head", head)
    run("audit", "verify", "--head", "f" * 64, status=1)
    run("audit", "export", str(tmp_path / "log.csv"))
    assert head in (tmp_path / "log.csv").read_text()
    run("audit", "export", str(tmp_path / "log.json"))
    assert head in (tmp_path / "log.json").read_text()
    assert "CSV or JSON" in complaint("audit", "export", str(tmp_path / "log.xml"))


def test_audit_verify_names_the_tampered_event(mask: Path) -> None:
    import sqlite3

    for _ in range(3):
        _upload(mask)
    with sqlite3.connect(get_settings().home / "synthscope.sqlite3") as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{trigger}"')
        table = connection.execute(
            "SELECT name FROM sqlite_master WHERE name LIKE 'audit%' AND type = 'table'"
        ).fetchone()[0]
        connection.execute(f"UPDATE {table} SET actor = 'somebody' WHERE seq = 2")
    result = CliRunner().invoke(app, ["audit", "verify"])
    assert result.exit_code == 1
    assert "Broken at event 2" in result.stderr


def test_jobs(tiny: str, mask: Path) -> None:
    with Runtime.open(start_jobs=False) as runtime:
        job = runtime.jobs.submit("topology", "refine", {"source": _upload(mask)}, actor=LOCAL)
    assert [item["id"] for item in json.loads(run("jobs", "list", "--active", "--json"))] == [job]
    assert job in run("jobs", "list")
    assert "asked to stop" in run("jobs", "cancel", job)
    assert "already cancelled" in run("jobs", "cancel", job)
    assert json.loads(run("jobs", "list", "--active", "--json")) == []
    assert "no" in complaint("jobs", "cancel", "absent").lower()


def test_artifacts(mask: Path, tmp_path: Path) -> None:
    item = _upload(mask)
    assert item in run("artifacts", "list")
    run("artifacts", "export", item, "--to", str(tmp_path / "copies"))
    (copy,) = (tmp_path / "copies").iterdir()
    assert np.array_equal(np.asarray(Image.open(copy)) > 0, np.asarray(Image.open(mask)) > 0)
    assert "1 artifacts are" in run("artifacts", "verify")
    with Runtime.open(start_jobs=False) as runtime:
        runtime.artifacts.path(item).write_bytes(b"changed")
    run("artifacts", "verify", item, status=1)
    assert "cannot be written" in complaint("artifacts", "export", item, "--to", str(mask))


def test_evaluate_against_known_errors(tmp_path: Path) -> None:
    truth, predicted = tmp_path / "truth", tmp_path / "predicted"
    truth.mkdir()
    predicted.mkdir()
    ring = np.zeros((32, 32), np.uint8)
    ring[8:24, 8:24] = 255
    ring[12:20, 12:20] = 0
    cut = ring.copy()
    cut[15:17, 8:12] = 0
    for name, made in (("same", ring), ("cut", cut), ("empty", np.zeros_like(ring))):
        Image.fromarray(ring).save(truth / f"{name}.png")
        Image.fromarray(made).save(predicted / f"{name}.png")
    (predicted / "alone.png").write_bytes(b"")
    run("evaluate", "topology", str(predicted), str(truth), "--out", str(tmp_path / "m.csv"))
    with (tmp_path / "m.csv").open() as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["cut", "empty", "same"]
    assert float(rows["same"]["dice"]) == 1
    assert float(rows["cut"]["betti1_error"]) == 1
    assert float(rows["cut"]["betti0_error"]) == 0
    assert float(rows["cut"]["dice"]) == pytest.approx(2 * 184 / (184 + 192))
    assert float(rows["empty"]["dice"]) == 0
    assert float(rows["empty"]["betti0_error"]) == 1


def test_what_evaluate_refuses(tmp_path: Path, mask: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert "does not exist" in complaint("evaluate", "topology", str(tmp_path / "absent"), str(other))
    assert "no measures for 'slides'" in complaint("evaluate", "slides", str(other), str(other))
    assert "No mask has its counterpart" in complaint("evaluate", "topology", str(tmp_path), str(other))
    Image.fromarray(np.eye(32, dtype=np.uint8) * 255).save(other / "mask.png")
    assert "differ in size" in complaint("evaluate", "topology", str(tmp_path), str(other))


def test_train_writes_weights_that_can_be_used(mask: Path, tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    for seed in range(2):
        Image.fromarray(curvilinear.sample("mortar", 96, seed).astype(np.uint8) * 255).save(folder / f"{seed}.png")
    text = run("train", "topology", "--data", str(folder), "--minutes", "0.02", "--device", "cpu", "--seed", "3")
    assert "steps" in text
    (found,) = [item for item in json.loads(run("weights", "list", "--json")) if item["origin"] == "yours"]
    assert found["name"] == "topology/trained"
    card = (get_settings().home / "weights" / "topology" / "trained" / "CARD.md").read_text()
    assert "python -m backend train topology --minutes 0.02 --seed 3 --data DIR" in card
    assert str(tmp_path) not in card
    run("generate", "topology", "refine", "weights=topology/trained", "--input", str(mask))
    again = ("train", "topology", "--data", str(folder), "--minutes", "0.02")
    assert "finished weights in that folder" in complaint(*again)


def test_train_goes_on_from_weights_and_ends_with_a_table(tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    for seed in range(3):
        Image.fromarray(curvilinear.sample("mortar", 64, seed).astype(np.uint8) * 255).save(folder / f"{seed}.png")
    common = ("train", "topology", "--masks", str(folder), "--minutes", "0.02", "--device", "cpu")
    run(*common)
    text = run(*common, "--start", "topology/trained", "--out", str(tmp_path / "second"))
    assert "3 of the training itself" in text
    for word in ("upstream", "fillholes", "refiner", "dice", "cldice", "matching"):
        assert word in text
    card = (tmp_path / "second" / "CARD.md").read_text()
    assert "Started from the weights `topology/trained`." in card
    assert "--start topology/trained" in card
    assert "not installed" in complaint(*common, "--start", "topology/none", "--out", str(tmp_path / "third"))


def test_what_train_refuses(tmp_path: Path) -> None:
    assert "nothing to train for 'slides'" in complaint("train", "slides")
    assert "no system called" in complaint("train", "nope")
    assert "does not exist" in complaint("train", "topology", "--data", str(tmp_path / "absent"), "--minutes", "0.01")
    assert "'seed' has an option of its own" in complaint("train", "topology", "seed=3")
    assert "no value called 'depth'" in complaint("train", "topology", "depth=3")


@dataclass(frozen=True)
class Inner:
    radius: int = 1


@dataclass(frozen=True)
class Outer:
    name: str = ""
    number: float = 0.0
    maybe: int | None = 5
    several: tuple[int, ...] = ()
    flag: bool = False
    inner: Inner = field(default_factory=Inner)


def test_words_become_fields() -> None:
    words = ["name=5", "number=1.5", "maybe=null", "several=[1, 2]", "flag=true", "inner.radius=7"]
    assert fill(Outer, words, {}) == Outer("5", 1.5, None, (1, 2), True, Inner(7))
    assert parse(Outer, ["name=a=b"]) == {"name": "a=b"}
    for wrong in (["inner.depth=1"], ["name.first=x"], ["name=a", "name=b"], ["=3"], ["number"]):
        with pytest.raises(UserError):
            parse(Outer, wrong)
    with pytest.raises(UserError, match="'number' cannot be used"):
        fill(Outer, ["number=much"], {})
