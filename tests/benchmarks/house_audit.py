"""How many audit events a second SQLite takes from eight writers."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from backend.identity import Actor

WRITERS = 8
EVENTS = 60


def append_rate() -> float:
    """Events a second that eight threads append together, each in its own transaction, the chain verified after."""
    from backend.runtime import Runtime
    from backend.settings import Settings

    with TemporaryDirectory() as home, Runtime.open(Settings(home=Path(home)), start_jobs=False) as runtime:
        gate = threading.Barrier(WRITERS + 1)

        def write(number: int) -> None:
            actor = Actor(f"writer {number}")
            gate.wait()
            for index in range(EVENTS):
                runtime.audit.append(actor=actor, action="benchmark.append", subject=f"event:{index}", new={"n": index})

        threads = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
        for thread in threads:
            thread.start()
        gate.wait()
        start = time.perf_counter()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - start
        checked = runtime.audit.verify()
        if not checked.ok or checked.events < WRITERS * EVENTS:
            raise RuntimeError(f"the audit chain does not hold after {WRITERS} writers: {checked.reason}")
        return WRITERS * EVENTS / seconds
