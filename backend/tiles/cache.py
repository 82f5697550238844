"""A bounded cache of costly values: least recently used go first, and no value is computed twice at the same time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class SingleFlightCache(Generic[Value]):
    """Values by key within ``capacity`` bytes, safe from any thread.

    Threads that ask for a key that another thread is computing wait for that result instead of repeating the work. A
    computation may ask the cache for other keys, as long as no key ever needs itself.
    """

    def __init__(self, capacity: int, size: Callable[[Value], int]) -> None:
        self.capacity = capacity
        self._size = size
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._flights: dict[Hashable, Future[Value]] = {}
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """Bytes held now."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable) -> Value | None:
        """The value if it is held, else ``None``."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def get_or_compute(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """The value, computed by one thread if nobody holds it. What ``compute`` raises reaches everyone who waits."""
        with self._lock:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
                return value
            flight = self._flights.get(key)
            mine = flight is None
            if flight is None:
                flight = self._flights[key] = Future()
        if not mine:
            return flight.result()
        try:
            value = compute()
        except BaseException as error:
            with self._lock:
                del self._flights[key]
            flight.set_exception(error)
            raise
        with self._lock:
            del self._flights[key]
            self._keep(key, value)
        flight.set_result(value)
        return value

    def forget(self, belongs: Callable[[Any], bool]) -> None:
        """Drop every value whose key ``belongs`` says yes to."""
        with self._lock:
            for key in [key for key in self._values if belongs(key)]:
                self._bytes -= self._size(self._values.pop(key))

    def _keep(self, key: Hashable, value: Value) -> None:
        size = self._size(value)
        if size > self.capacity:
            return
        self._values[key] = value
        self._bytes += size
        while self._bytes > self.capacity:
            _, oldest = self._values.popitem(last=False)
            self._bytes -= self._size(oldest)
