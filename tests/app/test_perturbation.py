"""The perturbation laboratory over HTTP."""

from __future__ import annotations

import json

import pytest
from fastapi.testclient import TestClient


def test_one_draw(client: TestClient) -> None:
    query = {"mask": "phantom:roads", "recipe": "polynomial", "errors": json.dumps({"order": 3}), "seed": "4"}
    answer = client.get("/api/perturbation", params=query)
    assert answer.status_code == 200
    shown = answer.json()
    assert [entry["name"] for entry in shown["pictures"]] == ["clean", "field", "damaged", "errors"]
    assert shown["seed"] == 4
    again = client.get("/api/perturbation", params=query).json()
    assert [entry["png"] for entry in again["pictures"]] == [entry["png"] for entry in shown["pictures"]]


def test_what_is_offered_and_the_functions_of_a_family(client: TestClient) -> None:
    offered = client.get("/api/perturbation/choices").json()
    assert {"recipes", "families", "settings", "masks"} <= set(offered)
    found = client.get("/api/perturbation/basis", params={"family": "legendre", "order": "4"}).json()
    assert len(found["functions"]) == 5


@pytest.mark.parametrize(
    "path",
    [
        "/api/perturbation?mask=phantom:roads&errors=nonsense",
        "/api/perturbation?mask=phantom:roads&errors=[1]",
        "/api/perturbation?mask=phantom:roads&errors={%22order%22:NaN}",
        "/api/perturbation?mask=phantom:roads&seed=-1",
        "/api/perturbation?mask=artifact:none",
        "/api/perturbation/basis?family=jacobi&order=3",
        "/api/perturbation/basis?family=legendre&order=99",
    ],
)
def test_what_cannot_be_drawn_is_a_sentence(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 400
    assert answer.json()["error"]["what"].endswith(".")
