"""The generator's half of the echo benchmark: requested against measured EF, distances, consistency, use, speed.

Every clip is made for a seed, an ejection fraction, a heart rate and a phase to begin with; the phantom that it is
compared with was drawn for the same wishes and a patient that no training has seen. Schedules are chosen on other
seeds than those reported.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from backend.errors import UserError
from backend.services.echo.making import JVID_SCHEDULE, Wish
from backend.settings import get_settings
from backend.training.echo_meter_validate import agreement
from backend.weights import Weights
from models.echo.denoiser import Denoiser
from models.echo.meter import Meter, measure
from models.echo.regressor import Regressor, estimate
from tests.benchmarks.echo_clips import (
    Asked,
    Cores,
    How,
    asked,
    clip_features,
    frame_features,
    has_student,
    make,
    network,
    networks,
)
from tests.benchmarks.echo_downstream import Lesson, learn
from tests.benchmarks.echo_statistics import Identity, distance, seam
from tests.benchmarks.harness import (
    ROOT,
    Interval,
    Options,
    PeerAbsent,
    Report,
    bootstrap,
    peak_memory_mib,
    peer_python,
)
from tests.benchmarks.harness import measure as timed

REPORTED, CHOSEN, LEARNED, TESTED, OTHERS = 3_100_000, 3_200_000, 3_300_000, 3_400_000, 3_500_000
"""First seeds of the clips reported, of those schedules are chosen on, learned from, tested on, of other phantoms."""
LONG, LONG_FPS = 64, 32.0
SHORT, SHORT_FPS = 16, 16.0
SCHEDULES = (
    "video",
    "image_last(1)",
    "image_last(2)",
    "image_last(4)",
    "image_first(4)",
    "alternate",
    "VVVVVVVVIVIVIVIV",
    "VVVVIVIV",
)
STEPS = (2, 4, 8, 16, 32, 64)
DEFAULT = Wish()


def run(options: Options, report: Report) -> None:
    """All cases of generated clips; without weights one sentence."""
    try:
        for name in ("echo/image", "echo/video", "echo/meter2d", "echo/regressor", "echo/autoencoder"):
            network(name)
    except UserError as error:
        report.skipped.append(f"generated clips: {error}")
        return
    many = 2 if options.full else 1
    how = {
        "lidm": How("image", DEFAULT.steps, DEFAULT.guidance),
        "lvdm": How("video", DEFAULT.steps, DEFAULT.guidance),
        "jvid": How(JVID_SCHEDULE, DEFAULT.steps, DEFAULT.guidance),
    }
    if has_student():
        how["student"] = How("video", None, DEFAULT.guidance, "student")
    with Cores() as cores:
        wishes = asked(REPORTED, 60 * many, LONG, LONG_FPS)
        clips = {name: cores.made(wishes, one) for name, one in how.items()}
        clips["phantom"] = cores.drawn(wishes)
        clips["real"] = cores.drawn(asked(OTHERS, 60 * many, LONG, LONG_FPS))
        _fractions(clips, wishes, report, options.seed)
        _ordered(cores, how["jvid"], 20 * many, report)
        _looks(clips, report)
        _schedules(cores, 64 * many, report)
        _steps(cores, how, 80 * many, report)
        _downstream(cores, how["jvid"], options, report)
        _seams(cores, how["lvdm"], 8 * many, report)
        _beside_peer(cores, how, 64 * many, report)
    memory = peak_memory_mib(
        "from tests.benchmarks.echo_clips import How, asked, make\n"
        f"make(asked({REPORTED}, 1, 192, {LONG_FPS})[0], {how['jvid']!r})"
    )
    report.metrics["peak_mib"] = memory
    report.rows.append({"case": "192 frames", "method": "JVID, the whole process", "peak MiB": f"{memory:.0f}"})


def _fractions(clips: dict[str, list[np.ndarray]], wishes: Sequence[Asked], report: Report, seed: int) -> None:
    meter, regressor = network("echo/meter2d"), network("echo/regressor")
    assert isinstance(meter, Meter)
    assert isinstance(regressor, Regressor)
    truth = [wish.ef for wish in wishes]
    report.rows.append(_fraction_row("mean of all (baseline)", truth, [float(np.mean(truth))] * len(truth), seed)[0])
    for name in ("phantom", "lvdm", "jvid", "student"):
        if name not in clips:
            continue
        for kind, key in (("area-length meter", f"ef.{name}"), ("regressor", f"ef_regressor.{name}")):
            found = [
                (measure(meter, one, LONG_FPS) if kind != "regressor" else estimate(regressor, one, LONG_FPS)).ef
                for one in clips[name]
            ]
            row, scores = _fraction_row(f"{name}, {kind}", truth, found, seed)
            report.rows.append(row)
            if name != "phantom":
                report.metrics |= {f"{key}.{measure_}": value for measure_, value in scores.items()}


def _fraction_row(
    method: str, truth: list[float], found: list[float], seed: int
) -> tuple[dict[str, object], dict[str, float]]:
    scores = {key.removeprefix("of."): value for key, value in agreement(truth, found, "of").items()}
    errors = np.abs(np.array(found) - np.array(truth))
    mae = bootstrap(errors[np.isfinite(errors)], seed=seed)
    row: dict[str, object] = {"case": f"EF of {len(truth)} clips", "method": method}
    row |= {name: f"{scores[name]:.3f}" for name in ("r2", "bias", "slope", "missing")}
    return {**row, "mae": f"{mae.value:.2f} [{mae.low:.2f}, {mae.high:.2f}]"}, scores


def _ordered(cores: Cores, how: How, pairs: int, report: Report) -> None:
    """Share of patients whose clip of EF 60 measures higher than their clip of EF 30, from the same noise."""
    meter = network("echo/meter2d")
    assert isinstance(meter, Meter)
    wishes = asked(REPORTED + 10_000, pairs, LONG, LONG_FPS)
    weak = cores.made([replace(wish, ef=30.0) for wish in wishes], how)
    strong = cores.made([replace(wish, ef=60.0) for wish in wishes], how)
    right = [
        measure(meter, low, LONG_FPS).ef < measure(meter, high, LONG_FPS).ef
        for low, high in zip(weak, strong, strict=True)
    ]
    share = bootstrap(right)
    report.metrics["ef.ordered"] = share.value
    report.rows.append({"case": f"{pairs} pairs of EF 30 and 60", "method": "JVID", "in order": str(share)})


def _looks(clips: dict[str, list[np.ndarray]], report: Report) -> None:
    """Distances to phantoms of other patients, and how much a clip stays the same patient."""
    frames = {name: frame_features(made) for name, made in clips.items()}
    whole = {name: clip_features(made, LONG_FPS) for name, made in clips.items()}
    one_second = {name: clip_features([one[: LONG // 2] for one in made], LONG_FPS) for name, made in clips.items()}
    identity = Identity(frames["phantom"])
    for name in ("real", "lidm", "lvdm", "jvid", "student"):
        if name not in clips:
            continue
        row: dict[str, object] = {"case": f"{len(clips[name])} clips against phantoms", "method": name}
        for key, features in (("fd_frame", frames), ("fd_clip16", one_second), ("fd_clip64", whole)):
            found = distance(features["phantom"], features[name])
            report.metrics[f"{key}.{name}"] = found.value
            row[key] = str(found)
        alike = bootstrap(identity.own(frames[name]))
        report.metrics[f"consistency.{name}"] = alike.value
        row |= {"consistency": str(alike), "identity AUC": f"{identity.auc(frames[name]):.3f}"}
        report.rows.append(row)
    control = bootstrap(identity.others(frames["real"]))
    report.metrics["consistency.shuffled"] = control.value
    report.rows.append({"case": "frames of other clips", "method": "shuffled real", "consistency": str(control)})
    report.notes.append(
        "real: phantoms of patients that no training has seen, against other such phantoms, the floor of a distance; "
        "frames by the encoder of echo/meter2d (96 numbers, every second frame), clips by that of echo/regressor "
        "(128 numbers, at 16 frames a second); intervals of distances by the jackknife over tenths of the clips"
    )


def _schedules(cores: Cores, count: int, report: Report) -> None:
    meter = network("echo/meter2d")
    assert isinstance(meter, Meter)
    wishes = asked(CHOSEN, count, SHORT, SHORT_FPS)
    real = cores.drawn(asked(CHOSEN + 50_000, count, SHORT, SHORT_FPS))
    for schedule in SCHEDULES:
        made = cores.made(wishes, How(schedule, DEFAULT.steps, DEFAULT.guidance))
        by_frame = distance(frame_features(real, 1), frame_features(made, 1))
        by_clip = distance(clip_features(real, SHORT_FPS), clip_features(made, SHORT_FPS))
        report.metrics[f"schedule.{schedule}.fd_frame"] = by_frame.value
        report.metrics[f"schedule.{schedule}.fd_clip16"] = by_clip.value
        row = {"case": f"schedules, {count} clips of 16", "method": schedule}
        report.rows.append({**row, "fd_frame": str(by_frame), "fd_clip16": str(by_clip)})


def _steps(cores: Cores, how: dict[str, How], count: int, report: Report) -> None:
    wishes = asked(REPORTED + 20_000, count, SHORT, SHORT_FPS)
    real = clip_features(cores.drawn(asked(OTHERS + 20_000, count, SHORT, SHORT_FPS)), SHORT_FPS)
    floor = clip_features(cores.drawn(wishes), SHORT_FPS)
    rows: list[tuple[str, Interval]] = [("real", distance(real, floor))]
    for steps in STEPS:
        made = cores.made(wishes, replace(how["jvid"], steps=steps))
        found = distance(real, clip_features(made, SHORT_FPS))
        report.metrics[f"steps.{steps}.fd_clip16"] = found.value
        rows.append((f"JVID, {steps} steps", found))
    if "student" in how:
        found = distance(real, clip_features(cores.made(wishes, how["student"]), SHORT_FPS))
        report.metrics["steps.student.fd_clip16"] = found.value
        rows.append((f"student, {networks().student_steps} steps", found))
    case = f"steps, {count} clips of 16"
    report.rows += [{"case": case, "method": method, "fd_clip16": str(found)} for method, found in rows]


def _downstream(cores: Cores, how: How, options: Options, report: Report) -> None:
    count, minutes = (960, 6.0) if options.full else (480, 3.0)
    wishes = asked(LEARNED, count, SHORT, SHORT_FPS)
    tests = asked(TESTED, 120, SHORT, SHORT_FPS)
    tested = np.stack(cores.drawn(tests))
    ef = np.array([wish.ef for wish in wishes])
    real, synthetic = np.stack(cores.drawn(wishes)), np.stack(cores.made(wishes, replace(how, steps=8)))
    half = np.arange(count) % 2 == 0
    mixed = np.where(half[:, None, None, None], real, synthetic)
    sets = {"real": real, "synthetic": synthetic, "mixed": mixed}
    lessons = [Lesson(clips, ef, tested, SHORT_FPS, minutes, options.seed) for clips in sets.values()]
    truth = [wish.ef for wish in tests]
    for name, found in zip(sets, cores.pool.map(learn, lessons), strict=True):
        row, scores = _fraction_row(f"learned from {count} {name} clips", truth, found, options.seed)
        report.metrics |= {f"downstream.{name}.{key}": scores[key] for key in ("r2", "mae")}
        report.rows.append({**row, "case": f"EF of {len(truth)} phantoms"})


def _beside_peer(cores: Cores, ways: dict[str, How], count: int, report: Report) -> None:
    """Our sampling beside a loop written the plain diffusers way on the same weights, alone on all cores."""
    whole = asked(REPORTED, 3, LONG, LONG_FPS)
    how, seconds = ways["jvid"], {}
    for name in ("jvid", "student"):
        if name in ways:
            took = timed(lambda one=ways[name]: [make(wish, one) for wish in whole], repeats=1)  # type: ignore[misc]
            seconds[name] = took.median / len(whole)
            report.rows.append({"case": "speed", "method": name, "s per 64 frames": f"{seconds[name]:.2f}"})
    ours = report.metrics["seconds_per_64_frames"] = seconds["jvid"]
    if "student" in seconds:
        report.metrics["student.seconds_per_64_frames"] = seconds["student"]
    wishes = asked(REPORTED + 40_000, count, SHORT, SHORT_FPS)
    try:
        theirs, clips = _peer([*whole, *wishes], len(whole), how.guidance)
    except PeerAbsent as absent:
        report.skipped.append(f"speed beside a plain diffusers loop: {absent}")
        return
    real = clip_features(cores.drawn(asked(OTHERS + 40_000, count, SHORT, SHORT_FPS)), SHORT_FPS)
    report.metrics |= {"peer.seconds_per_64_frames": theirs, "speedup_vs_diffusers": theirs / ours}
    for method, made in (("plain diffusers loop, 50 steps", clips), ("JVID", cores.made(wishes, how))):
        found = distance(real, clip_features(made, SHORT_FPS))
        report.metrics["peer.fd_clip16" if made is clips else "speed.fd_clip16"] = found.value
        row: dict[str, object] = {"case": f"{count} clips of 16", "method": method, "fd_clip16": str(found)}
        report.rows.append({**row, "s per 64 frames": f"{theirs:.2f}"} if made is clips else row)


def _peer(wishes: Sequence[Asked], timed_clips: int, guidance: float) -> tuple[float, list[np.ndarray]]:
    """Seconds a clip of the first ``timed_clips`` wishes, and the clips of the others."""
    python = peer_python()
    if python is None:
        raise PeerAbsent("no environment of peers; `make peers` makes it")
    weights = Weights(get_settings())
    folders = [str(weights.find(name).folder) for name in ("echo/autoencoder", "echo/image", "echo/video")]
    seconds: list[float] = []
    clips: list[np.ndarray] = []
    with TemporaryDirectory() as scratch:
        for some in (wishes[:timed_clips], wishes[timed_clips:]):
            listed, out = Path(scratch) / "asked.json", Path(scratch) / "made.npz"
            listed.write_text(json.dumps([{**asdict(wish), "guidance": guidance} for wish in some]))
            done = subprocess.run(
                [str(python), str(Path(__file__).with_name("echo_peer.py")), *folders, str(listed), str(out)],
                cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise PeerAbsent(f"the peer failed: {done.stderr.strip().splitlines()[-1]}")
            seconds += json.loads(done.stdout.splitlines()[-1])["seconds"]
            with np.load(out) as made:
                clips = list(made["clips"])
    return float(np.median(seconds[:timed_clips])), clips


def _seams(cores: Cores, how: How, count: int, report: Report) -> None:
    video = network("echo/video")
    assert isinstance(video, Denoiser)
    wishes = asked(REPORTED + 30_000, count, 128, LONG_FPS)
    borders = range(video.frames, 128, video.frames // 2)
    for name, blend in (("blended", True), ("appended", False)):
        ratio = bootstrap(seam(cores.made(wishes, replace(how, blend=blend)), borders))
        report.metrics[f"seam.{name}"] = ratio.value
        report.rows.append({"case": f"seams, {count} clips of 128", "method": name, "ratio": str(ratio)})
    ratio = bootstrap(seam(cores.drawn(wishes), borders))
    report.rows.append({"case": f"seams, {count} clips of 128", "method": "phantoms", "ratio": str(ratio)})
