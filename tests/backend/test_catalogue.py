"""The catalogue: ten systems, each name once, every module it names is there."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import is_dataclass
from importlib.util import find_spec

import pytest

from backend.catalogue import CATALOGUE, Catalogue, System
from backend.errors import UserError


def test_there_are_ten_systems() -> None:
    names = [system.name for system in CATALOGUE]
    assert len(CATALOGUE) == len(set(names)) == 10


def test_a_name_can_be_taken_once() -> None:
    catalogue = Catalogue()
    catalogue.register(System("a", "A", "p", "s"))
    with pytest.raises(ValueError, match="'a' is registered twice"):
        catalogue.register(System("a", "Other", "p", "s"))


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UserError, match="no system called 'topolgy'") as refused:
        CATALOGUE.get("topolgy")
    assert "topology" in refused.value.what_to_do
    with pytest.raises(UserError, match="no action 'fly'") as refused:
        CATALOGUE.action("topology", "fly")
    assert "refine" in refused.value.what_to_do


@pytest.mark.parametrize("system", list(CATALOGUE), ids=lambda system: system.name)
def test_what_an_entry_names_exists(system: System) -> None:
    for module in (system.service, system.tab, system.benchmark):
        assert not module or find_spec(module), module
    assert (system.state == "not yet") == (not system.tab)
    assert system.summary.endswith((".", "?"))
    assert "arXiv" in system.paper


@pytest.mark.parametrize("system", list(CATALOGUE), ids=lambda system: system.name)
def test_names_follow_the_shape_of_the_house(system: System) -> None:
    if system.service:
        assert system.service == f"backend.services.{system.name}"
    if system.tab:
        assert system.tab == f"app.tabs.{system.name}"
    assert all(weight.startswith(f"{system.name}/") for weight in system.weights)


@pytest.mark.parametrize("system", list(CATALOGUE), ids=lambda system: system.name)
def test_actions_are_described_by_dataclasses(system: System) -> None:
    for name, action in system.actions().items():
        assert (action.system, action.name) == (system.name, name)
        assert is_dataclass(action.request)
        assert is_dataclass(action.result)
        assert action.summary


@pytest.mark.parametrize("service", [system.service for system in CATALOGUE if system.service])
def test_services_are_imported_without_torch(service: str) -> None:
    code = f"import sys, {service}; sys.exit(any(name in sys.modules for name in ('torch', 'scipy', 'skimage', 'cv2')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
