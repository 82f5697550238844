"""Training a generator of one's own on the command line, and making a clip by it."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from backend.cli.program import app
from backend.settings import get_settings
from backend.training import echo_generator
from tests.backend.services.echo.small_folders import dicom_folder, echonet_folder
from tests.backend.services.echo.small_networks import write_small_generator, write_small_meter
from tests.backend.services.echo.test_measure import beating


def run(*words: str, status: int = 0) -> str:
    """Output and errors of a command that is to end with ``status``, white space made one."""
    result = CliRunner().invoke(app, list(words), prog_name="python -m backend")
    assert result.exit_code == status, result.output + repr(result.exception)
    assert "Traceback" not in result.output
    return re.sub(r"\s+", " ", result.stderr if status else result.stdout)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The weights of an installation with a small generator; small networks are trained."""
    monkeypatch.setattr(echo_generator, "SIZES", {"small": {"image": (16, 1, 2), "video": (16, 1, 2)}})
    folder = get_settings().home / "weights" / "echo"
    write_small_generator(folder, beating())
    return folder


def test_a_folder_of_clips_makes_a_video_model_that_makes_a_clip(home: Path, tmp_path: Path) -> None:
    folder = echonet_folder(tmp_path / "clips")
    with (folder / "FileList.csv").open("a", encoding="utf-8") as table:
        table.write("torn,50,,,112,112,16,48,TRAIN\n")
    (folder / "Videos" / "torn.avi").write_bytes(b"no clip")
    kept = f"latents={tmp_path / 'codes.npz'}"
    words = ("train", "echo", "--data", str(folder), "part=video", kept, "--minutes", "0.02", "--device", "cpu")
    text = run(*words)
    assert "sigma=0.5" in text
    card = (home / "trained-video" / "CARD.md").read_text()
    for told in (text, card):
        assert "Clips that could not be read and were left out: 1; the first:" in told
    with Image.open(home / "trained-video" / "samples.png") as sheet:
        assert sheet.size == (8 * 112, 3 * 112)
    assert "python -m backend train echo part=video latents=codes.npz --minutes 0.02 --seed 0 --data DIR" in card
    assert str(tmp_path) not in card
    config = json.loads((home / "trained-video" / "config.json").read_text())
    assert config["autoencoder_sha256"] == json.loads((home / "autoencoder" / "config.json").read_text())["sha256"]
    write_small_meter(home / "meter2d")
    run("generate", "echo", "generate", "video=echo/trained-video", "frames=16", "steps=2")
    (home / "trained-video" / "config.json").write_text(json.dumps({**config, "autoencoder_sha256": "0" * 64}))
    refused = run("generate", "echo", "generate", "video=echo/trained-video", "frames=16", "steps=2", status=2)
    assert "do not fit the autoencoder" in refused
    assert "finished weights in that folder" in run(*words, status=2)


def test_wrong_folders_are_sentences(tmp_path: Path) -> None:
    folder = dicom_folder(tmp_path / "clips", 1)
    (tmp_path / "empty").mkdir()
    bare = shutil.copytree(folder, tmp_path / "bare")
    (bare / "fractions.csv").write_text("File,LVEF\nclip0.dcm,\n")
    short = echonet_folder(tmp_path / "short", 1, frames=16)
    for wrong, words in (
        (tmp_path / "absent", "The folder of clips is not there."),
        (tmp_path / "empty", "The folder has no table of clips and their EF."),
        (bare, "The table fits no clip."),
        (short, "The folder holds one clip only that can be learned from."),
        (folder, "The folder holds one clip only that can be learned from."),
    ):
        out = str(tmp_path / "out")
        assert words in run(
            "train", "echo", "--data", str(wrong), "part=image", "--minutes", "0.01", "--out", out, status=2
        )
        assert not (tmp_path / "out" / "model.safetensors").exists()
