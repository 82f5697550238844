"""The recipe of the few-step student, from a tiny video model to weights that make a clip in its number of steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.errors import UserError
from backend.settings import Settings
from backend.training import echo_student
from backend.training.checkpoint import write_weights
from backend.training.echo import TrainRequest, train
from backend.training.echo_generator import GeneratorRequest
from backend.training.echo_latents import LENGTH, Latents
from backend.training.echo_student import StudentRequest, draw_jumps, jump_errors, train_student, whole_runs
from backend.weights import Weights, card_gaps
from models.diffusion.distill import student_levels
from models.echo.autoencoder import Autoencoder
from models.echo.denoiser import Denoiser
from models.echo.generate import GenerateConfig, Models, generate

FEW = 60


@pytest.fixture
def home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with an autoencoder, a teacher that answers to its conditions, and clips kept as latents."""
    monkeypatch.setattr(echo_student, "WHOLE_STEPS", 6)
    folder = settings.home / "weights" / "echo"
    torch.manual_seed(0)
    autoencoder = Autoencoder(widths=(8, 8, 8), fine=8, blocks=1)
    video = shaken(Denoiser(16, 4, True, 16, 1, 2, 0.7))
    image = Denoiser(1, 1, False, 16, 1, 2, 1.0)
    sha256 = ""
    for name, model in (("autoencoder", autoencoder), ("video", video), ("image", image)):
        (folder / name).mkdir(parents=True)
        config = {"arguments": model.arguments, "autoencoder_sha256": sha256}
        written = write_weights(folder / name, model, config, "# Small\n")
        sha256 = sha256 or written
    kept = clips()
    np.savez(
        folder / "latents.npz", key=f"{sha256}:{FEW}:{LENGTH}", codes=kept.codes, ef=kept.ef, phase=kept.phase,
        fps=kept.fps,
    )  # fmt: skip
    return folder


def shaken(model: Denoiser) -> Denoiser:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model.eval()


def clips() -> Latents:
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((FEW, LENGTH, 16, 7, 7)).astype(np.float16)
    return Latents(
        codes,
        codes[:, 0],
        rng.uniform(10, 80, FEW).astype(np.float32),
        (np.arange(LENGTH) / 16 * np.ones((FEW, 1))).astype(np.float32),
        np.full(FEW, 16, np.float32),
        np.arange(FEW) // 2,
    )


def request(home: Path, **more: object) -> TrainRequest:
    shared = {"minutes": 0.05, "clips": FEW, "latents": str(home / "latents.npz"), "command": "echo"}
    return TrainRequest(**{"out": home / "student", "part": "student", **shared, **more})  # type: ignore[arg-type]


def test_a_student_is_taught_and_makes_a_clip_in_its_steps(home: Path, settings: Settings) -> None:
    report = train(request(home, steps=2, guidance=2.0))
    assert report.steps >= 1
    levels = [f"sigma={level:.3g}" for level in student_levels(2)[:-1].tolist()]
    assert set(report.validation) == {
        *(f"{level}.{name}" for level in levels for name in ("student", "teacher")),
        *(f"run.{name}" for name in ("student", "ddim", "dpm")),
    }
    assert report.validation[f"{levels[-1]}.student"] < report.validation[f"{levels[-1]}.teacher"], "it has learnt"
    weights = Weights(settings)
    weight = weights.find("echo/student")
    assert weight.verify()
    assert card_gaps(weight.card) == []
    assert str(settings.home) not in weight.card
    assert (weight.config["steps"], weight.config["guidance"]) == (2, 2.0)
    assert weight.config["teacher_sha256"] == weights.find("echo/video").sha256
    assert weight.config["autoencoder_sha256"] == weights.find("echo/autoencoder").sha256
    assert not (home / "student" / "checkpoint.pt").exists()
    autoencoder, image, student = (
        weights.load(f"echo/{name}", lambda config, kind=kind: kind(**config["arguments"]), device="cpu")
        for name, kind in (("autoencoder", Autoencoder), ("image", Denoiser), ("student", Denoiser))
    )
    seen: list[int] = []
    models = Models(autoencoder, image, student=student, student_steps=weight.config["steps"])
    made = generate(
        models,
        GenerateConfig(frames=20, fps=16, sampler="student"),
        callback=lambda done, total, clean: seen.append(total),
    )
    assert made.shape == (20, 112, 112)
    assert seen == [2, 2]


def test_a_stopped_student_goes_on_and_only_as_itself(home: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(fraction: float, note: str) -> None:
        if note.startswith("step 2"):
            raise Stopped

    with pytest.raises(Stopped):
        train(request(home), progress=stop)
    assert (home / "student" / "checkpoint.pt").is_file()
    assert not (home / "student" / "model.safetensors").exists()
    with pytest.raises(UserError, match="belongs to another training"):
        train(request(home, guidance=3.0))
    assert train(request(home)).steps > 2


def test_untaught_it_errs_as_its_teacher_does(home: Path, settings: Settings) -> None:
    teacher = shaken(Denoiser(16, 4, True, 16, 1, 2, 0.7))
    asked = StudentRequest(home / "student", steps=3, guidance=1.0)
    batch = draw_jumps(clips(), GeneratorRequest(home / "student", batch=6), 3, np.random.default_rng(0), FEW)
    assert set(batch[2].tolist()) <= {0, 1, 2}
    with torch.inference_mode():
        mine, own = jump_errors(teacher, teacher, batch, asked)
        ends = whole_runs(teacher, teacher, batch, asked)
    assert torch.allclose(mine, own, rtol=1e-4)
    assert (own > 0).all()
    assert np.allclose(ends["student"], ends["ddim"], rtol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "cannot be taught"),
        ({"guidance": 11.0}, "cannot be taught"),
        ({"minutes": 0.0}, "cannot be"),
        ({"teacher": "echo/image"}, "cannot teach"),
        ({"teacher": "echo/autoencoder"}, "cannot teach"),
        ({"teacher": "echo/nobody"}, "not installed"),
    ],
)
def test_what_cannot_be_taught_is_said(home: Path, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(request(home, **wrong))
    assert not (home / "student").exists()


def test_a_teacher_of_another_code_is_refused(home: Path) -> None:
    config = home / "video" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "autoencoder_sha256": "0" * 64}))
    with pytest.raises(UserError, match="does not fit the autoencoder"):
        train_student(StudentRequest(home / "student", clips=FEW, latents=str(home / "latents.npz")))


def test_a_teacher_may_be_a_folder(home: Path, tmp_path: Path) -> None:
    (home / "video").rename(tmp_path / "mine")
    train(request(home, teacher=str(tmp_path / "mine"), minutes=0.01))
    assert str(tmp_path) not in (home / "student" / "CARD.md").read_text()
