"""What reaches the log: our own messages whole, and nothing of a patient."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend import logs
from backend.errors import UserError
from backend.identity import LOCAL
from backend.runtime import Runtime
from backend.settings import Settings

PATIENT = "Zyxwillow"


@pytest.fixture
def stream(settings: Settings) -> Iterator[io.StringIO]:
    target = io.StringIO()
    logs.set_up(settings.model_copy(update={"log_level": "DEBUG"}), to=target)
    yield target
    logs.shut_down()


def test_a_line_reaches_the_stream_and_the_file(settings: Settings, stream: io.StringIO) -> None:
    logging.getLogger("backend.media").info("cleaned %s", "Ab3dEf6hIj")
    line = stream.getvalue().strip()
    assert line.endswith("INFO    backend.media: cleaned Ab3dEf6hIj")
    assert (settings.home / "logs" / "synthscope.log").read_text().strip() == line


def test_setting_up_again_does_not_double_the_lines(settings: Settings, stream: io.StringIO) -> None:
    again = io.StringIO()
    logs.set_up(settings, to=again)
    logging.getLogger("backend").warning("once")
    assert again.getvalue().count("once") == 1
    assert "once" not in stream.getvalue()


def test_json_lines_hold_one_object_each_even_with_a_traceback(settings: Settings) -> None:
    target = io.StringIO()
    logs.set_up(settings.model_copy(update={"log_format": "json"}), to=target)
    try:
        raise KeyError(PATIENT)
    except KeyError:
        logging.getLogger("backend").exception("a bug")
    logs.shut_down()
    (line,) = target.getvalue().splitlines()
    content = json.loads(line)
    assert (content["level"], content["logger"], content["message"]) == ("ERROR", "backend", "a bug")
    assert "tests/backend/test_logs.py" in content["exception"]
    assert "builtins.KeyError" in content["exception"]
    assert PATIENT not in line


@pytest.mark.parametrize(
    "said",
    [
        f"cannot read /home/ward/{PATIENT}.dcm",
        f"cannot read C:\\Users\\{PATIENT}\\scan.dcm",
        f"upload {PATIENT}_19570304.nii.gz is odd",
        f"PN {PATIENT}^Anna is too long",
        f"GET /viewer?name={PATIENT}&id=3",
        f"file:///mnt/{PATIENT}",
    ],
)
def test_our_own_messages_lose_paths_files_names_and_queries(stream: io.StringIO, said: str) -> None:
    logging.getLogger("backend.media").warning("%s", said)
    assert PATIENT not in stream.getvalue()


@pytest.mark.parametrize(
    "said",
    [
        f"Invalid value for VR PN: '{PATIENT}'",
        f'value "{PATIENT}" truncated',
        "patient id 00712345 found",
        "study 1.2.840.113619.2.55.3 repeated",
        f"(sqlite3.Error) failed\n[parameters: ('x', {PATIENT}, 3)]",
    ],
)
def test_messages_of_libraries_lose_values_too(stream: io.StringIO, said: str) -> None:
    logging.getLogger("somelibrary").warning(said)
    written = stream.getvalue()
    assert PATIENT not in written
    assert "00712345" not in written
    assert "1.2.840" not in written


def test_a_chain_of_causes_is_scrubbed_to_its_end(stream: io.StringIO) -> None:
    try:
        try:
            raise ValueError(f"bad name '{PATIENT}'")
        except ValueError as error:
            raise RuntimeError(f"reading /data/{PATIENT}/1.dcm failed") from error
    except RuntimeError:
        logging.getLogger("backend").exception("bug 1f3a")
    written = stream.getvalue()
    assert "builtins.ValueError" in written
    assert "builtins.RuntimeError" in written
    assert PATIENT not in written
    assert str(Path(__file__).parent) not in written


def test_ordinary_words_stay(stream: io.StringIO) -> None:
    logging.getLogger("backend").info("loaded weight topology/refiner2d on cpu (475328 bytes), 3.5 s and/or less")
    assert "loaded weight topology/refiner2d on cpu (475328 bytes), 3.5 s and/or less" in stream.getvalue()


def test_a_home_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(UserError, match=r"The log cannot be written\."):
        logs.set_up(Settings(home=blocked))


def test_nothing_of_a_patient_stays_after_an_upload(runtime: Runtime, stream: io.StringIO, tmp_path: Path) -> None:
    """A planted name in header, private tag, comment and file name: none in log, database, audit log or stored file."""
    import pydicom
    from pydicom.data import get_testdata_file

    from backend.media.intake import accept_upload

    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    dataset.PatientName = f"{PATIENT}^Anna"
    dataset.PatientID = f"{PATIENT}-4711"
    dataset.PatientComments = f"Sister of {PATIENT}"
    dataset.OtherPatientNames = f"{PATIENT}^A"
    dataset.private_block(0x0099, PATIENT, create=True).add_new(1, "LO", PATIENT)
    source = tmp_path / "in" / f"{PATIENT}_Anna.dcm"
    source.parent.mkdir()
    dataset.save_as(source)
    accept_upload(runtime, source, filename=source.name, actor=LOCAL)

    broken = source.with_name(f"{PATIENT}_broken.dcm")
    broken.write_bytes(source.read_bytes()[:900])
    with pytest.raises(UserError) as refused:
        accept_upload(runtime, broken, filename=broken.name, actor=LOCAL)
    logging.getLogger("backend.media").error("upload refused", exc_info=refused.value)

    runtime.audit.export(runtime.settings.home / "audit.csv")
    planted = PATIENT.encode()
    kept = [path for path in runtime.settings.home.rglob("*") if path.is_file()]
    assert len(kept) > 3
    for path in kept:
        assert planted not in path.read_bytes(), path.relative_to(runtime.settings.home)
    assert PATIENT not in stream.getvalue()
    assert PATIENT not in str(refused.value)
