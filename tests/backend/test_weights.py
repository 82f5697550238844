"""Weights: found in order, verified before use, kept within a budget, loaded once however many ask."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import nn

from backend.errors import UserError
from backend.settings import Settings
from backend.weights import CARD_HEADINGS, MODEL, PARTS, SHIPPED, Weights, card_gaps, resolve_device

SIDE = 512  # a layer of 1 MiB


def build(config: dict[str, Any]) -> nn.Module:
    return nn.Linear(config["side"], config["side"], bias=False)


def write(root: Path, name: str, *, side: int = SIDE, value: float = 1.0, half: bool = False) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    weight = torch.full((side, side), value, dtype=torch.float16 if half else torch.float32)
    data = save({"weight": weight})
    (folder / MODEL).write_bytes(data)
    (folder / "config.json").write_text(json.dumps({"side": side, "sha256": hashlib.sha256(data).hexdigest()}))
    (folder / "CARD.md").write_text(f"# The {name} network\n\n## Licence\n\nMIT, as its data.\n")
    return folder


@pytest.fixture
def shipped(tmp_path: Path) -> Path:
    return tmp_path / "shipped"


@pytest.fixture
def weights(settings: Settings, shipped: Path) -> Weights:
    return Weights(settings.model_copy(update={"weights_budget_mib": 3}), shipped=shipped)


def test_importing_the_module_does_not_load_torch() -> None:
    code = "import sys, backend.weights; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_persons_own_weight_hides_the_shipped_one(weights: Weights, settings: Settings, shipped: Path) -> None:
    write(shipped, "topology/a", value=1)
    assert weights.find("topology/a").shipped
    write(settings.home / "weights", "topology/a", value=2)
    assert not weights.find("topology/a").shipped
    assert float(weights.load("topology/a", build).weight[0, 0]) == 2


def test_a_folder_is_found_by_path(weights: Weights, tmp_path: Path) -> None:
    folder = write(tmp_path, "elsewhere")
    assert weights.find(folder).name == "elsewhere"
    assert float(weights.load(folder, build).weight[0, 0]) == 1


def test_what_is_known_of_a_weight(weights: Weights, shipped: Path) -> None:
    write(shipped, "topology/a")
    (found,) = weights.available()
    assert (found.name, found.title, found.licence) == ("topology/a", "The topology/a network", "MIT, as its data.")
    assert found.size == found.path.stat().st_size
    assert found.verify()


def test_a_loaded_network_is_ready_for_inference(weights: Weights, shipped: Path) -> None:
    write(shipped, "topology/a", half=True)
    module = weights.load("topology/a", build)
    assert not module.training
    assert module.weight.dtype is torch.float32
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert weights.load("topology/a", build) is module


@pytest.mark.parametrize("name", ["", "../a", "/etc", "a/../../b", "A", "a\\b", "a//b", ".hidden"])
def test_names_that_are_no_names(weights: Weights, name: str) -> None:
    with pytest.raises(UserError, match="not the name of a weight"):
        weights.find(name)


def test_an_absent_weight_says_how_to_get_it(weights: Weights) -> None:
    with pytest.raises(UserError, match="not installed") as refused:
        weights.find("topology/none")
    assert refused.value.what_to_do == "Train them with `python -m backend train topology`."


@pytest.mark.parametrize(("name", "part"), [("image", " part=image"), ("meter2d", " part=meter"), ("mine", "")])
def test_an_absent_echo_weight_names_its_part(weights: Weights, name: str, part: str) -> None:
    with pytest.raises(UserError) as refused:
        weights.find(f"echo/{name}")
    assert refused.value.what_to_do == f"Train them with `python -m backend train echo{part}`."


def test_the_parts_are_those_of_the_recipe() -> None:
    from backend.training.anomaly import PARTS as ANOMALY
    from backend.training.echo import PARTS as ECHO

    assert set(ECHO) <= set(PARTS["echo"])
    assert set(ANOMALY) == set(PARTS["anomaly"])


@pytest.mark.parametrize("config", [None, "no json", "[]", "{}", '{"sha256": "abc"}', '{"sha256": 3}'])
def test_a_weight_without_a_usable_description(weights: Weights, shipped: Path, config: str | None) -> None:
    folder = write(shipped, "a")
    (folder / "config.json").unlink()
    if config is not None:
        (folder / "config.json").write_text(config)
    with pytest.raises(UserError, match="no usable description"):
        weights.find("a")
    assert weights.available() == []


def test_one_flipped_bit_is_refused(weights: Weights, shipped: Path) -> None:
    file = write(shipped, "a") / MODEL
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match="not the ones their description names"):
        weights.load("a", build)
    assert not weights.find("a").verify()
    assert weights.loaded() == []


def test_a_pickle_is_refused_even_with_the_right_hash(weights: Weights, shipped: Path, tmp_path: Path) -> None:
    folder = write(shipped, "a")
    torch.save({"weight": torch.zeros(SIDE, SIDE)}, folder / MODEL)
    digest = hashlib.sha256((folder / MODEL).read_bytes()).hexdigest()
    (folder / "config.json").write_text(json.dumps({"side": SIDE, "sha256": digest}))
    with pytest.raises(UserError, match="cannot be read"):
        weights.load("a", build)


@pytest.mark.parametrize(
    "other",
    [lambda config: nn.Linear(3, 3, bias=False), lambda config: nn.Linear(SIDE, SIDE), lambda config: nn.ReLU()],
)
def test_a_weight_of_another_network_is_refused(weights: Weights, shipped: Path, other: Any) -> None:
    write(shipped, "a")
    with pytest.raises(UserError, match="do not fit this network"):
        weights.load("a", other)


def test_a_file_larger_than_the_budget_is_not_even_read(weights: Weights, shipped: Path) -> None:
    write(shipped, "big", side=1024)
    with pytest.raises(UserError, match="need 5 MiB") as refused:  # 4 MiB and a header
        weights.load("big", build)
    assert "SYNTHSCOPE_WEIGHTS_BUDGET_MIB" in refused.value.what_to_do


def test_a_network_that_grows_over_the_budget_is_refused(weights: Weights, shipped: Path) -> None:
    write(shipped, "half", side=1024, half=True)  # 2 MiB on disk, 4 MiB in memory
    with pytest.raises(UserError, match="need 4 MiB"):
        weights.load("half", build)
    assert weights.loaded() == []


def test_the_least_recently_used_goes_first(weights: Weights, shipped: Path) -> None:
    for name in "abcd":
        write(shipped, name, value=ord(name))
    first = weights.load("a", build)
    weights.load("b", build)
    weights.load("c", build)
    assert weights.load("a", build) is first  # now b is the oldest of the three that fit
    weights.load("d", build)
    held = weights.loaded()
    assert [item.name for item in held] == ["d", "a", "c"]
    assert sum(item.bytes for item in held) == 3 * 1024 * 1024
    assert {item.device for item in held} == {"cpu"}
    assert held[0].last_used >= held[1].last_used >= held[2].last_used


def test_a_replaced_file_is_loaded_anew(weights: Weights, settings: Settings) -> None:
    root = settings.home / "weights"
    folder = write(root, "a", value=1)
    weights.load("a", build)
    shutil.rmtree(folder)
    write(root, "a", value=5)
    assert float(weights.load("a", build).weight[0, 0]) == 5


def test_many_threads_get_one_load(weights: Weights, shipped: Path) -> None:
    write(shipped, "a")
    built, got = [], []

    def slow(config: dict[str, Any]) -> nn.Module:
        built.append(1)
        time.sleep(0.05)
        return build(config)

    threads = [threading.Thread(target=lambda: got.append(weights.load("a", slow))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert len({id(module) for module in got}) == 1


def test_unloading_lets_go(weights: Weights, shipped: Path) -> None:
    write(shipped, "a")
    weights.load("a", build)
    weights.unload()
    assert weights.loaded() == []


def test_autocast_does_nothing_on_the_cpu(weights: Weights) -> None:
    with weights.autocast("cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.float32


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="torch.compile needs a C++ compiler")
def test_compiled_networks_give_the_same_answer(settings: Settings, shipped: Path) -> None:
    write(shipped, "a", side=4)
    compiled = Weights(settings.model_copy(update={"compile_models": True}), shipped=shipped).load("a", build)
    plain = Weights(settings, shipped=shipped).load("a", build)
    assert isinstance(compiled, torch._dynamo.eval_frame.OptimizedModule)
    given = torch.arange(8.0).reshape(2, 4)
    assert torch.allclose(compiled(given), plain(given))


def test_devices() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") == (
        "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    )
    with pytest.raises(UserError, match="no device called"):
        resolve_device("tpu")
    with pytest.raises(UserError, match="no device called"):
        resolve_device("cuda:x")
    with pytest.raises(UserError, match="has no 'cuda:99' device"):
        resolve_device("cuda:99")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_cuda_device(weights: Weights, shipped: Path) -> None:
    write(shipped, "a")
    module = weights.load("a", build, "cuda")
    assert module.weight.device.type == "cuda"
    assert weights.loaded()[0].device == "cuda"
    with weights.autocast("cuda"):
        result = module(torch.ones(1, SIDE, device="cuda"))
    assert float(result[0, 0]) == SIDE
    expected = torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float32
    assert result.dtype is expected


def test_card_gaps() -> None:
    whole = "\n".join(f"## {heading}\n\ntext\n" for heading in CARD_HEADINGS)
    assert card_gaps(whole) == []
    assert card_gaps(whole.replace("## Limits", "## Else")) == ["Limits"]


@pytest.mark.parametrize(
    "file", sorted(SHIPPED.rglob(MODEL)), ids=lambda file: file.parent.relative_to(SHIPPED).as_posix()
)
def test_shipped_weights_are_whole(file: Path, settings: Settings) -> None:
    found = Weights(settings).find(file.parent.relative_to(SHIPPED).as_posix())
    assert found.verify()
    assert found.size <= 16 * 1024 * 1024
    assert card_gaps(found.card) == []
    assert found.licence
    assert "python -m backend train" in found.card
