"""The cache: bounded, least recently used out, nothing computed twice at once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from backend.tiles.cache import SingleFlightCache


def make(capacity: int) -> SingleFlightCache[bytes]:
    return SingleFlightCache(capacity, len)


def test_the_least_recently_used_goes_first_and_the_bound_holds() -> None:
    cache = make(30)
    for key in "abc":
        cache.get_or_compute(key, lambda: b"x" * 10)
    assert cache.get("a")
    cache.get_or_compute("d", lambda: b"x" * 10)
    assert cache.get("b") is None
    assert cache.get("a")
    assert (len(cache), cache.bytes) == (3, 30)


def test_what_is_larger_than_the_cache_is_given_but_not_kept() -> None:
    cache = make(5)
    cache.get_or_compute("small", lambda: b"xx")
    assert cache.get_or_compute("large", lambda: b"x" * 6) == b"x" * 6
    assert cache.get("large") is None
    assert cache.get("small") == b"xx"


def test_threads_that_ask_at_once_share_one_computation() -> None:
    cache, calls, gate = make(100), [], threading.Barrier(8)

    def slow() -> bytes:
        calls.append(1)
        time.sleep(0.05)
        return b"value"

    def ask(_: int) -> bytes:
        gate.wait()
        return cache.get_or_compute("key", slow)

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, range(8))) == {b"value"}
    assert len(calls) == 1


def test_an_error_reaches_everyone_who_waits_and_is_not_kept() -> None:
    cache, gate = make(100), threading.Barrier(4)

    def fail() -> bytes:
        time.sleep(0.05)
        raise ValueError("broken")

    def ask(_: int) -> str:
        gate.wait()
        with pytest.raises(ValueError, match="broken"):
            cache.get_or_compute("key", fail)
        return "told"

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(ask, range(4))) == ["told"] * 4
    assert cache.get_or_compute("key", lambda: b"good") == b"good"


def test_a_computation_may_ask_for_other_keys() -> None:
    cache = make(100)
    value = cache.get_or_compute("outer", lambda: cache.get_or_compute("inner", lambda: b"in") + b"out")
    assert value == b"inout"


def test_forgetting_drops_what_belongs_and_its_bytes() -> None:
    cache = make(100)
    for key in [("a", 1), ("a", 2), ("b", 1)]:
        cache.get_or_compute(key, lambda: b"x" * 10)
    cache.forget(lambda key: key[0] == "a")
    assert (len(cache), cache.bytes) == (1, 10)
