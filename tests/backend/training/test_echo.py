"""The recipes of autoencoder and generators, from phantoms and from folders of clips to weights that make a clip."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.errors import UserError
from backend.settings import Settings
from backend.training import echo_autoencoder, echo_generator
from backend.training.echo import PARTS, TrainRequest, train
from backend.training.echo_autoencoder import AutoencoderRequest, changed, pack_frames, psnr, train_autoencoder
from backend.training.echo_generator import GeneratorRequest, draw_batch, weighted_error
from backend.training.echo_latents import LENGTH, Latents, beat_phase, draw_latents, read_latents
from backend.training.recipe import TrainReport
from backend.weights import Weights, card_gaps
from models.echo.autoencoder import Autoencoder
from models.echo.denoiser import Denoiser
from models.echo.generate import GenerateConfig, Models, generate
from models.echo.meter import Meter
from models.phantoms.echo import clip


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(echo_autoencoder, "ARGUMENTS", {"widths": (8, 8, 8), "fine": 8, "blocks": 1})
    monkeypatch.setattr(echo_generator, "SIZES", {"small": {"image": (16, 1, 2), "video": (16, 1, 2)}})


@pytest.fixture
def home(settings: Settings) -> Path:
    """A home whose autoencoder was trained for a moment on a few frames given as real ones."""
    folder = settings.home / "weights" / "echo"
    real = clip(3, ef=50, frames=4, fps=16).frames
    train_autoencoder(AutoencoderRequest(folder / "autoencoder", 0.01, batch=2, validation=1), real=real)
    return folder


def test_the_autoencoder_is_no_worse_than_components_from_the_start(home: Path, settings: Settings) -> None:
    weight = Weights(settings).find("echo/autoencoder")
    assert weight.verify()
    card = (home / "autoencoder" / "CARD.md").read_text()
    assert card_gaps(card) == []
    assert "best linear code" in card
    assert str(settings.home) not in card
    model = Weights(settings).load("echo/autoencoder", lambda config: Autoencoder(**config["arguments"]), device="cpu")
    frames = clip(77, ef=50, frames=3, fps=16).frames.astype(np.float32)[:, None] / 255
    with torch.inference_mode():
        latents = model.encode(torch.from_numpy(frames))
        found = model.decode(latents)[:, 0].numpy()
    assert np.mean(psnr(found, frames[:, 0])) > 28
    assert 0.5 < float(latents.std()) < 1.5
    assert not (home / "autoencoder" / "checkpoint.pt").exists()


def test_generators_learn_and_together_make_a_clip(home: Path, settings: Settings) -> None:
    latents = home / "latents.npz"
    for part in ("image", "video"):
        request = TrainRequest(home / part, part, minutes=0.01, clips=50, latents=str(latents), command="echo")
        report = train(request)
        assert report.steps >= 1
        assert report.validation.keys() == {f"sigma={level}.loss" for level in ("0.1", "0.5", "2", "10")}
        assert card_gaps((home / part / "CARD.md").read_text()) == []
    shared = {"part": "image", "minutes": 0.01, "clips": 50, "latents": str(latents), "seed": 1}
    first = train(TrainRequest(home / "once", **shared, begin=str(home / "image")))
    card = (home / "once" / "CARD.md").read_text()
    before = json.loads((home / "image" / "config.json").read_text())["sha256"]
    assert json.loads((home / "once" / "config.json").read_text())["begin_sha256"] == before
    assert before[:16] in card
    assert "`echo`" in card, "the training before it is told with it"
    assert first.steps >= 1
    with pytest.raises(UserError, match="no image model of the size 'small'"):
        train(TrainRequest(home / "twice", **shared, begin=str(home / "video")))
    kept = np.load(latents)
    assert kept["codes"].shape == (50, LENGTH, 16, 7, 7)
    weights = Weights(settings)
    autoencoder, image, video = (
        weights.load(f"echo/{name}", lambda config, kind=kind: kind(**config["arguments"]), device="cpu")
        for name, kind in (("autoencoder", Autoencoder), ("image", Denoiser), ("video", Denoiser))
    )
    made = generate(Models(autoencoder, image, video), GenerateConfig(frames=20, fps=16, steps=2))
    assert made.shape == (20, 112, 112)


def test_drawn_latents_are_kept_and_drawn_again_for_another_autoencoder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Autoencoder(widths=(8, 8, 8), fine=8, blocks=1)
    notes: list[str] = []

    def draw(sha256: str, workers: int | None = None) -> Latents:
        note = lambda fraction, text: notes.append(text)  # noqa: E731
        return draw_latents(tmp_path / "kept.npz", model, sha256, 4, workers=workers, progress=note)

    first = draw("a", workers=1)
    assert len(notes) == 1
    again = draw("a", workers=1)
    assert len(notes) == 1
    assert np.array_equal(first.codes, again.codes)
    assert np.array_equal(first.codes, draw("b").codes), "as many workers as cores draw what one draws"
    assert len(notes) == 2
    assert np.ptp(first.phase[:, 0]) > 0.1, "clips begin anywhere in the beat"
    assert ((first.ef > 4) & (first.ef < 86)).all()


def folder_of_clips(folder: Path) -> Path:
    """An EchoNet-like folder: two phantoms as NPY beside a table."""
    folder.mkdir()
    with (folder / "list.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "EF", "fps"])
        for seed in range(2):
            drawn = clip(seed, ef=40 + 20 * seed, frames=48, fps=16, heart_rate=60)
            np.save(folder / f"clip{seed}.npy", drawn.frames)
            table.writerow([f"clip{seed}.npy", f"{drawn.ef:.1f}", 16])
    return folder


def test_a_folder_of_clips_becomes_stretches_with_the_fraction_of_its_table(tmp_path: Path) -> None:
    folder = folder_of_clips(tmp_path / "clips")
    torch.manual_seed(0)
    model = Autoencoder(widths=(8, 8, 8), fine=8, blocks=1)
    meter = Weights(Settings(home=tmp_path)).load(
        "echo/meter2d", lambda config: Meter(**config["arguments"]), device="cpu"
    )
    kept = read_latents(tmp_path / "kept.npz", folder, model, "a", meter)
    assert kept.codes.shape[1:] == (LENGTH, 16, 7, 7)
    assert len(kept) >= 2
    assert set(np.round(kept.ef)) <= {40, 60}
    begins = kept.phase[:, 0] % 1
    assert begins.max() - begins.min() > 0.2, "they begin anywhere in the beat"
    assert kept.reference.shape == (len(kept), 16, 7, 7)
    assert np.allclose(np.diff(kept.phase, axis=1).mean(), 1 / 16, atol=0.02), "sixty beats a minute at 16 a second"


@pytest.mark.parametrize(
    ("ends", "wanted"),
    [
        ([2, 6], [-0.5, -0.25, 0, 0.25, 0.5, 0.75, 1, 1.25, 1.5]),
        ([0, 4, 6], [0, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3]),
    ],
)
def test_phase_runs_evenly_between_end_diastoles_and_on_beyond(ends: list[int], wanted: list[float]) -> None:
    assert np.allclose(beat_phase(ends, 9), wanted)
    assert np.isnan(beat_phase(ends[:1], 9)).all()


def test_conditions_are_dropped_at_their_shares_and_the_error_is_one_without_knowledge() -> None:
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((60, LENGTH, 16, 7, 7)).astype(np.float16)
    phase = np.full((60, LENGTH), 0.5, np.float32)
    kept = Latents(codes, codes[:, 0], np.full(60, 50, np.float32), phase, np.full(60, 16, np.float32), np.arange(60))
    batch = draw_batch(kept, GeneratorRequest(Path("none"), "image", batch=40), rng, 60)
    assert 0.06 < float(torch.isnan(batch[3]).float().mean()) < 0.15
    assert 0.15 < float(torch.isnan(batch[4]).float().mean()) < 0.26
    assert 0.16 < float((batch[4] == 0).float().mean()) < 0.32, "references among the frames of the image model"
    model = Denoiser(1, 1, False, 16, 1, 2, 1.0)
    with torch.inference_mode():
        error = weighted_error(model, batch)
    assert float(error.mean()) == pytest.approx(1, abs=0.05)


def test_augmented_frames_stay_frames() -> None:
    frame = clip(1, ef=50, frames=1, fps=1).frames[0]
    seen = [changed(frame, np.random.default_rng(seed)) for seed in range(8)]
    for other in seen:
        assert other.shape == frame.shape
        assert other.dtype == np.float32
        assert 0 <= other.min() <= other.max() <= 1
    assert len({other.tobytes() for other in seen}) == 8


def test_the_real_clip_gives_its_later_beats_only() -> None:
    found = pack_frames()
    if found is None:
        pytest.skip("pydicom-data is not installed")
    assert found.shape == (80, 112, 112)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"part": "heart"}, "no part"),
        ({"part": "meter", "data": Path()}, "cannot learn"),
        ({"part": "video", "size": "huge"}, "cannot be"),
        ({"part": "autoencoder", "minutes": 0.0}, "cannot be"),
    ],
)
def test_what_cannot_be_trained_is_said(tmp_path: Path, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(TrainRequest(**{"out": tmp_path / "out", **wrong}))
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_every_part_reports_alike(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from backend.training import echo_meter

    monkeypatch.setattr(echo_meter, "METER_WIDTHS", (8, 8))
    assert set(PARTS) >= {"meter", "regressor"}
    report = train(TrainRequest(tmp_path / "out", "meter", minutes=0.01, validation=2))
    assert isinstance(report, TrainReport)
    assert report.held_out > 0
    assert "ef.r2" in report.validation
