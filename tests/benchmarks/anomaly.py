"""Benchmark of the anomaly system: heat-maps of patients and phantoms by every method, in one run.

Patients are the folders of ``<data>/mri/<set>`` with ``lesions.nii.gz``; all voxels of the scan above 0 count (the data
are skull-stripped). Nothing is chosen on them: the rule of ``combined``, the severities and the steps are fixed, see
``tests/benchmarks/anomaly_choice.py``. Phantoms are persons whom no training sees, with families of lesions that none
may be trained on, in slabs of eight slices. Methods:

``intensity``, and ``smooth``, the same after a Gaussian of σ = 1 mm; ``zscore``: the smooth scan against the mean and
standard deviation of healthy phantoms in the space of the atlas, to which the scan is registered by an affine map;
``autoencoder`` and ``ddpm`` (restoration from Gaussian noise): |x − f|; ``single``: |x − f| of one severity;
``ensemble``: the mean over four, as published; ``signed``: only what is brighter than restored; ``multistep``: the
ensemble, each in four steps; ``combined``: ours; ``smooth_ensemble`` and ``smooth_signed``: after the same Gaussian.

Two trainings of the restorer are measured where both are installed. ``--full``: more persons.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
import torch

from backend.brain_atlas import brain_atlas
from backend.errors import UserError
from models.anomaly.network import Restorer
from tests.benchmarks.anomaly_cases import LESIONS, SEQUENCES, Case, patients, read_case, slabs, template
from tests.benchmarks.anomaly_methods import (
    AUTOENCODER,
    DDPM,
    METHODS,
    TRAININGS,
    Found,
    Task,
    begin,
    network,
    run_task,
)
from tests.benchmarks.anomaly_scores import BINS, RATE, Score, interval, mean_of
from tests.benchmarks.anomaly_speed import speed
from tests.benchmarks.harness import Options, Report, bootstrap, peak_memory_mib

PERSONS, PERSONS_FULL = 3, 10
"""Phantoms with lesions of every unseen family."""
TESTED = 6_000_000
"""First seed of theirs; no training, validation or choice draws them."""
POPULATION, POPULATION_FULL = 10, 30
"""Healthy phantoms behind the template."""
TIMED_EVERY = 15
"""Every which slice of a volume the plain loop is timed on."""
DIFFERENCES = (
    ("ensemble", "intensity"),
    ("ensemble", "autoencoder"),
    ("ensemble", "ddpm"),
    ("ensemble", "single"),
    ("combined", "smooth"),
)


@dataclass(frozen=True)
class Scan:
    """Where a task's result belongs."""

    group: str
    patient: str
    sequence: str


def run(options: Options) -> Report:
    """All cases; see the module's docstring."""
    report = Report(
        notes=[
            "AP, Dice (best threshold) and AUROC over all voxels of the scan above 0; in brackets: 95 % bootstrap over "
            "lesions, each patient's own; the means stand for these patients only",
            f"by size of lesion (small < .05 ml, medium < .5 ml): AP of their voxels against all that is healthy; "
            f"found: mean share of a lesion above the {RATE:.0%} highest healthy voxels of the same brain",
            "zscore: against healthy phantoms, not patients; phantoms are drawn brains",
        ]
    )
    for name in (*TRAININGS, AUTOENCODER, DDPM):
        if network(name) is None:
            report.skipped.append(f"{name}: no weights; train them with `python -m backend train anomaly`")
    try:
        brain_atlas()
        persons = PERSONS_FULL if options.full else PERSONS
        made = template(POPULATION_FULL if options.full else POPULATION)
    except UserError as error:
        report.skipped.append(f"zscore and phantoms: {error.what} {error.what_to_do}")
        persons, made = 0, None
    scans, tasks = _patients(options, report)
    # Patients first: they take longest, and no core shall wait for one at the end.
    tasks += [Task(person=TESTED + index, seed=options.seed) for index in range(persons)]
    workers = min(os.cpu_count() or 1, max(len(tasks), 1))
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=begin, initargs=(made,)) as pool:
        found = list(pool.map(run_task, tasks))
    _tables(dict(zip(scans, found, strict=False)), report)
    _phantoms(found[len(scans) :], report, options.seed)
    seconds = [one.seconds for one in found[: len(scans)] if one.seconds]
    if seconds:
        report.metrics["seconds_per_volume"] = float(np.mean(seconds))
        report.notes.append(f"seconds_per_volume: the ensemble on one thread, {workers} processes at a time")
    _speed(tasks[0] if scans else None, report)
    return report


def _patients(options: Options, report: Report) -> tuple[list[Scan], list[Task]]:
    folder = options.data / "mri" if options.data else None
    scans, tasks = [], []
    for group in sorted(path for path in folder.iterdir() if path.is_dir()) if folder and folder.is_dir() else []:
        for patient in patients(group):
            for sequence, name in SEQUENCES.items():
                if (patient / f"{name}.nii.gz").is_file():
                    scans.append(Scan(group.name, patient.name, sequence))
                    tasks.append(Task(patient=patient, sequence=sequence, seed=options.seed))
                else:
                    report.skipped.append(f"{group.name} {patient.name}: no {name}.nii.gz")
    if not scans:
        report.skipped.append(f"no folder mri/<set>/<patient> with {LESIONS} in the data")
    return scans, tasks


def _tables(found: dict[Scan, Found], report: Report) -> None:
    """Rows and metrics of every patient, of their means, and of the differences that count."""
    for scan, one in found.items():
        facts = one.facts
        outside = f", {facts['left_out']} more outside the brain left out" if facts["left_out"] else ""
        report.notes.append(
            f"{scan.patient} {scan.sequence}: {facts['voxels']} voxels, {facts['lesion_voxels']} of them in "
            f"{facts['lesions']} lesions{outside}"
        )
    for group, sequence in dict.fromkeys((scan.group, scan.sequence) for scan in found):
        of_group = {s.patient: one for s, one in found.items() if (s.group, s.sequence) == (group, sequence)}
        for training in range(len(TRAININGS)):
            lead = f"seed{training}." if training else ""
            maps: dict[str, dict[str, Score]] = {}
            for patient, one in of_group.items():
                for method, scored in one.patients.get(training, {}).items():
                    maps.setdefault(method, {})[patient] = scored
            for method in (name for name in METHODS if name in maps):
                for patient, scored in maps[method].items():
                    key = f"{lead}{group}.{patient}.{sequence}.{method}"
                    _row(f"{patient} {sequence}", method, training, key, [scored], report)
                key = f"{lead}{group}.{sequence}.{method}"
                _row(f"{group} mean {sequence}", method, training, key, list(maps[method].values()), report)
            for better, than in DIFFERENCES:
                # Networks of one training alone stand beside each other; the trivial ones are the same for both.
                beside = maps.get(than) or _trivial(of_group, than)
                if better in maps and beside:
                    _difference(f"{lead}{group}.{sequence}", better, than, maps[better], beside, report)


def _trivial(of_group: dict[str, Found], method: str) -> dict[str, Score]:
    return {patient: one.patients[0][method] for patient, one in of_group.items() if method in one.patients.get(0, {})}


def _row(case: str, method: str, training: int, key: str, scores: Sequence[Score], report: Report) -> None:
    row: dict[str, object] = {"case": case, "method": method, "training": training}
    for name in ("ap", "dice", "auroc"):
        report.metrics[f"{key}.{name}"] = value = float(np.mean([getattr(scored, name) for scored in scores]))
        row[name] = value
        if name != "auroc":
            low, high = interval(mean_of([getattr(scored, f"{name}_drawn") for scored in scores]))
            report.metrics |= {f"{key}.{name}_lo": low, f"{key}.{name}_hi": high}
            row[name] = _told(value, low, high)
    for size in BINS:
        bins = [scored.bins[size] for scored in scores if size in scored.bins]
        if not bins:
            continue
        for name in ("ap", "recall"):
            value = float(np.mean([getattr(one, name) for one in bins]))
            low, high = interval(mean_of([getattr(one, f"{name}_drawn") for one in bins]))
            keys = (f"{key}.{size}.{name}", f"{key}.{size}.{name}_lo", f"{key}.{size}.{name}_hi")
            report.metrics |= dict(zip(keys, (value, low, high), strict=True))
            row[f"{size} {'found' if name == 'recall' else name}"] = _told(value, low, high)
        row[f"{size} n"] = sum(one.lesions for one in bins)
    report.rows.append(row)


def _difference(
    key: str, better: str, than: str, maps: dict[str, Score], beside: dict[str, Score], report: Report
) -> None:
    """Of the means over patients, with lesions drawn alike for both, and of the patient that gains least."""
    pairs = [(maps[patient], beside[patient]) for patient in maps if patient in beside]
    for name in ("ap", "dice"):
        gains = [getattr(a, name) - getattr(b, name) for a, b in pairs]
        drawn = [getattr(a, f"{name}_drawn") - getattr(b, f"{name}_drawn") for a, b in pairs]
        low, high = interval(mean_of(drawn))
        whole = f"{key}.{better}_minus_{than}.{name}"
        report.metrics |= {
            whole: float(np.mean(gains)),
            f"{whole}_lo": low,
            f"{whole}_hi": high,
            f"{whole}_least": float(min(gains)),
        }


def _phantoms(found: Sequence[Found], report: Report, seed: int) -> None:
    for training in range(len(TRAININGS)):
        lead = f"seed{training}." if training else ""
        entries = [one.phantoms.get(training, {}) for one in found]
        for method in METHODS:
            values = [entry for one in entries for entry in one.get(method, [])]
            if not values:
                continue
            row: dict[str, object] = {"case": "phantoms, unseen families", "method": method, "training": training}
            for sequence in ("", *SEQUENCES):
                some = [ap for _, own, ap in values if sequence in ("", own)]
                of = bootstrap(some, seed=seed)
                key = f"{lead}phantom_unseen.{sequence + '.' if sequence else ''}{method}.ap"
                report.metrics |= {key: of.value, f"{key}_lo": of.low, f"{key}_hi": of.high}
                row[f"{sequence or 'all'} ap"] = _told(of.value, of.low, of.high)
            for family in dict.fromkeys(name for name, _, _ in values):
                mean = float(np.mean([ap for name, _, ap in values if name == family]))
                report.metrics[f"{lead}phantom_unseen.{family}.{method}.ap"] = mean
            row["n"] = len(values)
            report.rows.append(row)
    if found:
        report.notes.append(
            "phantoms: a slab of 8 slices through each lesion; n: persons × families × sequences; intervals over them"
        )


def _speed(first: Task | None, report: Report) -> None:
    """On every fifteenth slice of a scan, with all cores, quiet or not; memory in a process of its own."""
    model = network(TRAININGS[0]) or Restorer("restorer")
    model.eval()
    case = _timed(first)
    if case is None:
        report.skipped.append("speed: neither a patient nor the atlas of phantoms is there")
        return
    every = slice(None, None, TIMED_EVERY if first else 1)
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    found = speed(model, case.sequence, case.image[every], case.inside[every])
    torch.set_num_threads(threads)
    report.metrics |= found
    code = "from tests.benchmarks.anomaly_speed import restore_something; restore_something()"
    report.metrics["peak_mib"] = peak_memory_mib(code, timeout_s=600)
    report.rows += [{"case": "speed and memory", "method": name, "value": value} for name, value in found.items()]
    report.rows.append({"case": "speed and memory", "method": "peak_mib", "value": report.metrics["peak_mib"]})
    report.notes.append(
        "speed: every slice in turn, every place and severity one at a time, against ours, on every "
        f"{TIMED_EVERY}th slice of the first scan; same_places: ours with windows over the whole slice as the loop has "
        "them; difference_same_places: largest over both sets of places; difference_of_places: windows over the box of "
        "the brain against those over the whole slice; peak_mib: a process that restores a ball in 182 × 182 × 218 "
        "voxels, in every eighth slice"
    )


def _timed(first: Task | None) -> Case | None:
    if first is not None and first.patient is not None:
        return read_case(first.patient, first.sequence, None)
    try:
        return next((case for _, case in slabs(TESTED, ("rings",), ("flair",), brain_atlas())), None)
    except UserError:
        return None


def _told(value: float, low: float, high: float) -> str:
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"
