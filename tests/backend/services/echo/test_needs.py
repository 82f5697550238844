"""What the page says it lacks."""

from __future__ import annotations

from backend.runtime import Runtime
from backend.services.echo.needs import TO_GENERATE, TO_MEASURE, missing


def test_what_is_installed_is_not_missing_and_what_is_not_is(runtime: Runtime) -> None:
    names = ("topology/refiner2d", "echo/none", *TO_GENERATE)
    absent = missing(runtime.weights, names)
    assert "topology/refiner2d" not in absent
    assert "echo/none" in absent
    for name in {*TO_GENERATE, *TO_MEASURE}:
        folder = runtime.settings.home / "weights" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_bytes(b"")
        (folder / "config.json").write_text('{"sha256": "' + "0" * 64 + '"}')
    assert missing(runtime.weights, names) == ("echo/none",)
