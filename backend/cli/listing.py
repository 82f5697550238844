"""``systems``, ``samples``, ``weights`` and ``settings``: what there is."""

from __future__ import annotations

from typing import Annotated

import typer

from backend.catalogue import CATALOGUE
from backend.cli.console import as_json, err, group, out, size, table

weights_app = group("weights", "The networks that are installed: shipped ones and your own.")


def systems(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the systems, how far each is, and what it can do as jobs.

    Example: python -m backend systems
    """
    rows = [
        {
            "system": system.name,
            "state": system.state,
            "actions": list(system.actions()),
            "summary": system.summary,
            "paper": system.paper,
        }
        for system in CATALOGUE
    ]
    if json:
        as_json(rows)
        return
    table(
        ["system", "state", "actions", "what it is for"],
        [(row["system"], row["state"], ", ".join(row["actions"]) or "–", row["summary"]) for row in rows],
    )


def samples(
    kind: Annotated[str, typer.Option(help="Only slide, mask, image, clip, volume or dicom.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the samples, where each comes from, and how to get those that are not installed.

    Example: python -m backend samples --kind mask
    """
    from backend.samples import samples as every

    listed = [item for item in every() if kind in ("", item.kind)]
    if json:
        fields = ("id", "title", "kind", "label", "available", "source", "licence", "how_to_get")
        as_json([{field: getattr(item, field) for field in fields} for item in listed])
        return
    table(
        ["sample", "kind", "", "what", "from", "licence"],
        [
            (item.id, item.kind, item.label if item.available else "absent", item.title, item.source, item.licence)
            for item in listed
        ],
        empty="There is no sample of that kind.",
    )
    for item in listed:
        if not item.available:
            out().print(f"{item.id}: {item.how_to_get}", markup=False)


@weights_app.command("list")
def list_weights(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List installed weights.

    Example: python -m backend weights list
    """
    rows = [
        {
            "name": item.name,
            "title": item.title,
            "size": item.size,
            "licence": item.licence,
            "origin": "shipped" if item.shipped else "yours",
            "sha256": item.sha256,
        }
        for item in _weights().available()
    ]
    if json:
        as_json(rows)
        return
    table(
        ["weight", "what", "size", "licence", "origin", "SHA-256"],
        [
            (row["name"], row["title"], size(int(row["size"])), row["licence"], row["origin"], str(row["sha256"])[:16])
            for row in rows
        ],
        empty="No weights are installed.",
    )


@weights_app.command("verify")
def verify_weights() -> None:
    """Compare every installed weight with the hash its description names; exits with 1 when one differs.

    Example: python -m backend weights verify
    """
    listed = _weights().available()
    bad = [item.name for item in listed if not item.verify()]
    for name in bad:
        err().print(f"{name} is not the file its description names.")
    if bad:
        raise typer.Exit(1)
    out().print(f"{len(listed)} weights are what their descriptions name.")


def settings(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show every setting, its value here, and the environment variable that sets it.

    Example: SYNTHSCOPE_DEVICE=cpu python -m backend settings
    """
    from sqlalchemy.engine import make_url

    from backend.settings import Settings, get_settings

    now = get_settings()
    values = {name: getattr(now, name) for name in Settings.model_fields}
    if values["database_url"]:  # its password is nobody's business
        values["database_url"] = make_url(values["database_url"]).render_as_string(hide_password=True)
    if json:
        as_json(values)
        return
    table(
        ["variable", "value", "what it does"],
        [
            (f"SYNTHSCOPE_{name.upper()}", values[name], field.description)
            for name, field in Settings.model_fields.items()
        ],
    )


def _weights():
    from backend.settings import get_settings
    from backend.weights import Weights

    return Weights(get_settings())
