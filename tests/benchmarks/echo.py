"""Benchmark of the echo system: the EF meters on phantoms, the autoencoder on the real clip, and what is generated.

The meter and the regressor read phantoms of patients that no training has seen; the baseline says the mean ejection
fraction of those patients for every one. The autoencoder codes pydicom's real clip; beside it stand principal
components with as many numbers a frame, fitted to what the autoencoder was trained on, and to the real clip's later
beats alone, which is the best that a linear code can know of this patient.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from skimage.metrics import structural_similarity
from torch import nn

from backend.errors import UserError
from backend.media.echo_clip import read_echo_clip
from backend.media.limits import Limits
from backend.samples import sample
from backend.settings import get_settings
from backend.training.echo_autoencoder import draw_frames, pack_frames, psnr, round_trip
from backend.training.echo_meter_validate import agreement, held_out
from backend.weights import Weights
from models.echo.autoencoder import Autoencoder, linear_round_trip, principal_components
from models.echo.meter import Meter, measure
from models.echo.regressor import Regressor, estimate
from tests.benchmarks import echo_generator
from tests.benchmarks.harness import Options, Report, bootstrap
from tests.benchmarks.harness import measure as timed

NETWORKS: dict[str, type[nn.Module]] = {
    "echo/autoencoder": Autoencoder,
    "echo/meter2d": Meter,
    "echo/regressor": Regressor,
}
PATIENTS = 3_000_000
"""Seeds of the phantom patients measured here; no training and no validation draws them."""
BEFORE = 48
"""Patients whose frames the components are fitted to, as at the start of the autoencoder's training."""


def run(options: Options) -> Report:
    """All cases; see the module's docstring."""
    report = Report(notes=["phantoms are drawn hearts, not patients; intervals: 95 % bootstrap over clips or frames"])
    networks = {name: found for name, kind in NETWORKS.items() if (found := _load(name, kind, report))}
    if "echo/meter2d" in networks:
        _meters(networks, options, report)
    if "echo/autoencoder" in networks:
        _real_clip(cast("Autoencoder", networks["echo/autoencoder"]), report)
    echo_generator.run(options, report)
    return report


def _load(name: str, kind: type[nn.Module], report: Report) -> nn.Module | None:
    try:
        return Weights(get_settings()).load(name, lambda config: kind(**config["arguments"]), device="cpu")
    except UserError:
        report.skipped.append(f"{name}: no weights; train them with `python -m backend train echo`")
        return None


def _meters(networks: dict[str, nn.Module], options: Options, report: Report) -> None:
    count = 120 if options.full else 60
    drawn = [held_out(PATIENTS, index) for index in range(count)]
    truth = [clip.ef for clip in drawn]
    meter = cast("Meter", networks["echo/meter2d"])
    found = {
        "mean of all (baseline)": [float(np.mean(truth))] * count,
        "area-length meter": [measure(meter, clip.frames, clip.fps).ef for clip in drawn],
    }
    if "echo/regressor" in networks:
        regressor = cast("Regressor", networks["echo/regressor"])
        found["regressor"] = [estimate(regressor, clip.frames, clip.fps).ef for clip in drawn]
    keys = {"mean of all (baseline)": "ef.mean", "area-length meter": "ef", "regressor": "ef_regressor"}
    for method, values in found.items():
        scores = agreement(truth, values, "found")
        known = np.isfinite(values)
        errors = np.abs(np.array(values) - np.array(truth))[known]
        low, high = (lambda of: (of.low, of.high))(bootstrap(errors, seed=options.seed))
        row: dict[str, object] = {"case": f"EF of {count} phantoms", "method": method}
        for name in ("r2", "mae", "bias", "slope", "missing"):
            value = scores[f"found.{name}"]
            report.metrics[f"{keys[method]}.phantom.{name}"] = value
            row[name] = f"{value:.2f} [{low:.2f}, {high:.2f}]" if name == "mae" else f"{value:.3f}"
        report.metrics |= {f"{keys[method]}.phantom.mae_lo": low, f"{keys[method]}.phantom.mae_hi": high}
        report.rows.append(row)
    seconds = timed(lambda: measure(meter, drawn[0].frames, drawn[0].fps), repeats=3).median
    report.metrics["meter_seconds_per_64_frames"] = seconds
    report.rows.append({"case": "time", "method": "area-length meter", "s per 64 frames": f"{seconds:.2f}"})


def _real_clip(model: Autoencoder, report: Report) -> None:
    path = cast("Path", sample("echo-four-chamber").path)
    frames = read_echo_clip(path, Limits()).frames.astype(np.float32) / 255
    phantoms = np.concatenate([draw_frames(index) for index in range(BEFORE)]).astype(np.float32) / 255
    pack = pack_frames()
    codes = {"components of phantoms": phantoms}
    if pack is None:
        report.skipped.append("components of the real clip's later beats: pydicom-data is not installed")
    else:
        later = pack.astype(np.float32) / 255
        codes |= {
            "components of phantoms and later beats": np.concatenate([phantoms, later]),
            "components of later beats": later,
        }
    found = {name: linear_round_trip(frames, *principal_components(fitted)) for name, fitted in codes.items()}
    found["autoencoder"] = round_trip(model, frames)
    best = -np.inf
    for name, coded in found.items():
        values = psnr(coded, frames)
        interval = bootstrap(values)
        ssim = bootstrap(
            [structural_similarity(a, b, data_range=1.0) for a, b in zip(np.clip(coded, 0, 1), frames, strict=True)]
        )
        report.rows.append(
            {"case": "real clip, 784 numbers a frame", "method": name, "PSNR dB": str(interval), "SSIM": str(ssim)}
        )
        if name == "autoencoder":
            report.metrics |= {"real_clip.psnr": interval.value, "real_clip.ssim": ssim.value}
            report.metrics |= {"real_clip.psnr_lo": interval.low, "real_clip.psnr_hi": interval.high}
        else:
            best = max(best, interval.value)
    report.metrics["real_clip.pca_psnr"] = best
    report.notes.append(
        "real clip: 30 frames that no training has seen; later beats of the same recording, hence of the same patient, "
        "were a part of the autoencoder's training where pydicom-data is installed; pca_psnr is the best of the linear"
    )
