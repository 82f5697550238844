"""The application in this process, without a socket, on an installation in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.server import create_app
from backend.runtime import Runtime


@pytest.fixture
def app(runtime: Runtime) -> FastAPI:
    """The whole application, workbench included."""
    return create_app(runtime)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client that calls it as 127.0.0.1 and gives back what went wrong instead of raising it."""
    with TestClient(app, base_url="http://127.0.0.1:7860", raise_server_exceptions=False) as opened:
        yield opened
