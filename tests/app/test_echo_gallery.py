"""The gallery of a batch says what was measured, and where that is only a lower bound."""

from __future__ import annotations

from app.tabs.echo.gallery import Item, gallery_html


def test_a_film_tells_a_lower_bound_from_a_measured_fraction() -> None:
    whole, part = Item("c", "v", 7, 35.0, 34.4), Item("c", "v", 8, 35.0, 21.0, whole=False)
    assert whole.title == "Seed 7: EF 35 % asked for, 34 % measured"
    assert part.title == "Seed 8: EF 35 % asked for, ≥ 21 % measured"
    page = gallery_html([whole, part], 2, "in", finished=True)
    assert "→ 34 %" in page
    assert "→ ≥ 21 %" in page


def test_a_film_without_a_ventricle_says_so() -> None:
    unknown = Item("c", "v", 9, 35.0, None)
    assert "unknown measured" in unknown.title
    assert "→ ? %" in gallery_html([unknown], 1, "in", finished=True)
