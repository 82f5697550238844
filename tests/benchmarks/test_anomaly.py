"""The benchmark of the anomaly system: scores, intervals, phantoms, and the plain loop beside ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from models.anomaly.combine import Rule
from models.anomaly.network import Restorer
from models.anomaly.preprocess import Grid, working_grid
from models.metrics.ranking import average_precision, best_dice
from models.phantoms.brain import subject
from tests.backend.services.anomaly.scans import ball, write_volume
from tests.benchmarks import anomaly, anomaly_choice
from tests.benchmarks.anomaly_cases import SLAB, Template, into_atlas, laid, patients, read_case, slabs
from tests.benchmarks.anomaly_methods import METHODS, Task, Worker
from tests.benchmarks.anomaly_scores import drawn_weights, interval, mean_of, score, truth_of
from tests.benchmarks.anomaly_speed import speed
from tests.benchmarks.harness import Options, Report
from tests.models.phantoms.brain_atlas import ball_atlas

TINY: dict[str, Any] = {"widths": (8, 16), "layers": 1, "patch": 4}


@pytest.fixture(scope="module")
def brain() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three lesions of 27, 27 and 1000 voxels, a brain, and a heat-map that likes them a little; it has ties."""
    rng = np.random.default_rng(3)
    lesions = np.zeros((20, 40, 40), bool)
    lesions[2:5, 5:8, 5:8] = lesions[2:5, 30:33, 30:33] = lesions[8:18, 10:20, 20:30] = True
    inside = np.ones(lesions.shape, bool)
    inside[:, :2] = False
    heat = ndimage.gaussian_filter(rng.random(lesions.shape), 1) + 0.1 * lesions
    return np.round(heat, 2).astype(np.float32), lesions, inside


def test_scores_are_those_of_all_voxels_inside(brain: tuple[np.ndarray, ...]) -> None:
    heat, lesions, inside = brain
    truth = truth_of(lesions, inside, 0.001)
    found = score(heat, truth, resamples=50)
    assert found.ap == average_precision(heat[inside], lesions[inside])
    assert found.dice == best_dice(heat[inside], lesions[inside])
    assert truth.sizes == ("small", "small", "large")
    assert found.bins["small"].lesions == 2
    assert found.bins["small"].voxels == 54
    assert "medium" not in found.bins
    large = inside & ~(lesions & (np.arange(20) < 6)[:, None, None])
    assert found.bins["large"].ap == pytest.approx(average_precision(heat[large], lesions[large]))


def test_lesions_that_are_drawn_twice_count_twice(brain: tuple[np.ndarray, ...]) -> None:
    heat, lesions, inside = brain
    truth = truth_of(lesions, inside, 0.001)
    found = score(heat, truth, seed=5, resamples=30)
    for weight, ap, dice in zip(drawn_weights(3, 30, 5), found.ap_drawn, found.dice_drawn, strict=True):
        times = np.zeros(lesions.shape, int)
        times[truth.sought] = weight[truth.lesion]
        chosen = inside & (~lesions | (times > 0))
        repeats = np.where(lesions, times, 1)[chosen]
        heats, sought = np.repeat(heat[chosen], repeats), np.repeat(lesions[chosen], repeats)
        assert ap == pytest.approx(average_precision(heats, sought))
        assert dice == pytest.approx(best_dice(heats, sought))
    low, high = interval(found.ap_drawn)
    assert low <= found.ap <= high
    assert mean_of([found.ap_drawn, found.ap_drawn]) == pytest.approx(found.ap_drawn)


def test_a_perfect_map_and_the_recall_of_what_lies_above_healthy_voxels(brain: tuple[np.ndarray, ...]) -> None:
    _, lesions, inside = brain
    found = score(lesions.astype(np.float32), truth_of(lesions, inside, 0.001), resamples=20)
    assert found.ap == found.dice == found.auroc == 1
    assert [part.recall for part in found.bins.values()] == [1, 1]
    assert (found.ap_drawn == 1).all()
    assert score(0 * lesions, truth_of(lesions, inside, 0.001), resamples=5).bins["large"].recall == 0
    with pytest.raises(ValueError, match="no lesion"):
        truth_of(lesions, ~inside, 0.001)


def small(kind: Any, seed: int) -> Restorer:
    """A network of no zeros, so that it changes what it sees."""
    torch.manual_seed(seed)
    model = Restorer(kind, **TINY).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return model


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    """``<data>/mri/set/one`` with FLAIR and lesions of 2 mm voxels, one of them with half of it outside."""
    folder = tmp_path / "mri" / "set" / "one"
    folder.mkdir(parents=True)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -27
    image, spot = ball((28, 28, 28), affine)
    spot[14, 14, 2:5] = True
    write_volume(folder / "FLAIR.nii.gz", image, affine)
    write_volume(folder / "lesions.nii.gz", spot.astype(np.uint8), affine)
    return folder


def test_a_patient_is_read_on_the_working_grid(patient: Path) -> None:
    assert patients(patient.parent) == [patient]
    case = read_case(patient, "flair", None)
    assert case.image.shape == (56, 56, 56)
    assert case.spacing_mm == (1, 1, 1)
    assert case.inside.sum() == pytest.approx(4 / 3 * np.pi * 22**3, rel=0.03)
    assert not case.image[~case.inside].any()
    assert case.image[case.lesions & case.inside].mean() > case.image[case.inside].mean() + 0.2
    assert case.lesions.sum() == pytest.approx(4 / 3 * np.pi * 5**3, rel=0.2), "a voxel of 2 mm becomes eight of 1 mm"


def test_every_method_is_measured_on_a_patient_and_told(patient: Path) -> None:
    worker = Worker(None)
    worker.ours = {0: small("restorer", 0), 1: small("restorer", 1)}
    worker.others = {"autoencoder": small("autoencoder", 0), "ddpm": small("ddpm", 0)}
    found = worker.do(Task(patient=patient, sequence="flair"))
    assert set(found.patients[0]) == set(METHODS) - {"zscore"}
    assert set(found.patients[1]) == {"single", "ensemble", "signed", "combined", "smooth_ensemble", "smooth_signed"}
    assert found.seconds > 0
    assert found.facts["lesions"] >= 1
    report = Report()
    anomaly._tables({anomaly.Scan("set", "one", "flair"): found}, report)
    line = json.loads(report.json_line("anomaly"))["metrics"]
    of = found.patients[0]
    assert line["set.flair.smooth.ap"] == line["set.one.flair.smooth.ap"] == of["smooth"].ap
    assert line["seed1.set.flair.ensemble.dice"] == found.patients[1]["ensemble"].dice
    gain = of["combined"].ap - of["smooth"].ap
    assert line["set.flair.combined_minus_smooth.ap"] == pytest.approx(gain)
    assert line["set.flair.combined_minus_smooth.ap_least"] == pytest.approx(gain)
    assert line["seed1.set.flair.ensemble_minus_ddpm.ap"] == pytest.approx(
        found.patients[1]["ensemble"].ap - of["ddpm"].ap
    )
    assert line["set.flair.intensity.medium.ap_lo"] <= line["set.flair.intensity.medium.ap_hi"]
    assert len(report.rows) == 2 * (len(found.patients[0]) + len(found.patients[1]))


def test_a_patient_on_the_data_folder_becomes_tasks_and_what_is_missing_is_told(patient: Path) -> None:
    report = Report()
    scans, tasks = anomaly._patients(Options("anomaly", data=patient.parents[2]), report)
    assert scans == [anomaly.Scan("set", "one", "flair")]
    assert [task.patient for task in tasks] == [patient]
    assert report.skipped == ["set one: no T2.nii.gz", "set one: no T1.nii.gz"]
    anomaly._patients(Options("anomaly"), report)
    assert "no folder" in report.skipped[-1]


def test_phantoms_come_as_slabs_through_their_lesions() -> None:
    atlas = ball_atlas()
    found = list(slabs(7, ("tumour", "rings"), ("flair", "t1"), atlas))
    assert [(family, case.sequence) for family, case in found] == [
        ("tumour", "flair"), ("tumour", "t1"), ("rings", "flair"), ("rings", "t1"),
    ]  # fmt: skip
    for _, case in found:
        assert case.image.shape == (SLAB, *atlas.shape[:2])
        assert case.lesions.any()
        assert not (case.lesions & ~case.inside).any()
        assert not case.image[~case.inside].any()
        assert case.image.max() <= 1


def test_a_healthy_person_laid_into_the_atlas_looks_like_its_template() -> None:
    atlas = ball_atlas()
    who = subject(atlas, 7)
    back = into_atlas(who)
    assert 0.9 < np.linalg.det(back[:3, :3]) / (1 / who.traits.size) < 1.1, "smaller persons are stretched"
    grid = working_grid(Grid(atlas.shape, atlas.affine), 2.0)
    maps = np.stack([laid(seed, grid, atlas=atlas)[0] for seed in (7, 8, 9)])
    made = Template({"flair": maps.mean(0)}, {"flair": maps.std(0)}, grid)
    _, case = next(slabs(7, ("tumour",), ("flair",), atlas))
    deviations = made.deviations(case, case.image)
    healthy = case.inside & ~case.lesions
    assert np.median(deviations[healthy]) < 2
    assert not deviations[~case.inside].any()
    assert made.deviations(case, case.image + 3 * case.lesions)[case.lesions].min() > np.median(deviations[healthy])


def test_the_plain_loop_finds_the_same_and_takes_longer() -> None:
    rng = np.random.default_rng(0)
    volume = ndimage.gaussian_filter(rng.random((3, 192, 192)), (0, 2, 2)).astype(np.float32)
    inside = np.zeros(volume.shape, bool)
    inside[:2, 40:170, 60:150] = True
    found = speed(small("restorer", 0), "flair", volume * inside, inside)
    assert found["difference_same_places"] < 1e-5
    assert found["speedup_vs_plain_loop"] > 3
    assert found["speedup_vs_plain_loop"] > found["speedup_vs_plain_loop_same_places"] > 1
    assert 0 < found["difference_of_places_mean"] < found["heat_mean"]


def test_the_rule_is_the_best_on_phantoms() -> None:
    tried = anomaly_choice.person(7, ball_atlas(), small("restorer", 0), ("tumour",))
    assert {one.sequence for one in tried} == {"flair", "t2", "t1"}
    rule, mean = anomaly_choice.choose(tried, "flair")
    of_flair = np.array([one.rules for one in tried if one.sequence == "flair"])
    assert mean == of_flair.mean(0).max() == of_flair[:, anomaly_choice.RULES.index(rule)].mean()
    plain = anomaly_choice.RULES.index(Rule(0.0, "brighter", 1.0))
    for one in tried:
        assert one.rules[plain] == pytest.approx(one.plain["smooth"])
