"""What PS3.3 asks of a DICOM object, from the tables that highdicom ships."""

from __future__ import annotations

import json
import warnings
from functools import lru_cache
from importlib import util
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset


@lru_cache(maxsize=1)
def _standard() -> tuple[dict, dict, dict]:
    """Modules of each IOD, attributes of each module, IOD of each SOP class."""
    spec = util.find_spec("highdicom")
    assert spec is not None
    folder = Path(next(iter(spec.submodule_search_locations or ()))) / "_standard"
    names = ("iod_module_map", "module_attribute_map", "sop_class_iod_map")
    return tuple(json.loads((folder / f"{name}.json").read_text()) for name in names)  # type: ignore[return-value]


def missing(dataset: Dataset) -> list[str]:
    """Attributes of type 1 and 2 that a mandatory module asks for and the dataset does not have."""
    modules, _, classes = _standard()
    found = []
    for module in modules[classes[dataset.SOPClassUID]]:
        if module["usage"] == "M":
            found += lacking(dataset, module["key"])
    return found


def lacking(dataset: Dataset, module: str, path: tuple[str, ...] = ()) -> list[str]:
    """What of one module is missing, at the top or in the items of the sequence that ``path`` leads to."""
    found = []
    for attribute in _standard()[1][module]:
        keyword, kind = attribute["keyword"], attribute["type"]
        if tuple(attribute["path"]) != path or kind not in ("1", "2"):
            continue
        if keyword not in dataset or (kind == "1" and dataset[keyword].is_empty):
            found.append(f"{module}.{keyword}")
    return found


def read_strictly(path: Path) -> Dataset:
    """The file, read by pydicom; a value that is not valid for its VR is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = pydicom.dcmread(path)
        for element in dataset.iterall():
            assert element.value is not None or element.VM == 0
    return dataset
