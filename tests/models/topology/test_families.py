"""Function families: orthogonality by quadrature, and what order and mixture do to a random field."""

from __future__ import annotations

import numpy as np
import pytest

from models.topology.families import FAMILIES, MIXTURE, random_field

ORDER = 8
NAMES = [*FAMILIES, MIXTURE]


def nodes(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Points inside the family's interval and weights that integrate over it without the family's weight.

    Gauss-Legendre where the interval is bounded (after x = cos t for the weight with poles at its ends); on the
    unbounded ones over the part outside of which functions up to order 8 are below 1e-12.
    """
    x, w = np.polynomial.legendre.leggauss(400)
    if name == "chebyshev":
        t = 0.5 * np.pi * (x + 1)
        return np.cos(t), 0.5 * np.pi * w * np.sin(t)
    low, high = {"hermite": (-14.0, 14.0), "laguerre": (0.0, 120.0)}.get(name, FAMILIES[name].interval)
    return 0.5 * (high - low) * x + 0.5 * (high + low), 0.5 * (high - low) * w


def gram(name: str) -> np.ndarray:
    x, w = nodes(name)
    values = FAMILIES[name].basis(ORDER, x)
    return (values * (w * FAMILIES[name].weight(x))) @ values.T


@pytest.mark.parametrize("name", FAMILIES)
def test_orthogonal_on_its_interval_with_its_weight(name: str) -> None:
    products = gram(name)
    lengths = np.sqrt(np.diag(products))
    assert np.allclose(products / np.outer(lengths, lengths), np.eye(ORDER + 1), atol=1e-9)


@pytest.mark.parametrize(
    ("name", "squared_lengths"),
    [
        ("legendre", [2 / (2 * n + 1) for n in range(ORDER + 1)]),
        ("chebyshev", [np.pi] + [np.pi / 2] * ORDER),
        ("hermite", [1.0] * (ORDER + 1)),
        ("laguerre", [1.0] * (ORDER + 1)),
        ("fourier", [2 * np.pi] + [np.pi] * ORDER),
    ],
)
def test_lengths_are_the_published_ones(name: str, squared_lengths: list[float]) -> None:
    assert np.allclose(np.diag(gram(name)), squared_lengths, rtol=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_basis_starts_with_the_lower_orders(name: str) -> None:
    x = np.linspace(*FAMILIES[name].window, 17)
    assert FAMILIES[name].basis(5, x).shape == (6, 17)
    assert np.array_equal(FAMILIES[name].basis(5, x)[:4], FAMILIES[name].basis(3, x))
    assert np.isfinite(FAMILIES[name].basis(12, x)).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_functions_are_alive_in_the_window(name: str) -> None:
    low, high = FAMILIES[name].window
    assert FAMILIES[name].interval[0] <= low < high <= FAMILIES[name].interval[1]
    values = FAMILIES[name].basis(6, np.linspace(low, high, 200))
    assert (np.abs(values).max(1) > 0.1).all()


def centroid(field: np.ndarray) -> float:
    """Mean spatial frequency of a field, in cycles per side, weighted by power (without the mean)."""
    power = np.abs(np.fft.fftn((field - field.mean()) * np.outer(*(np.hanning(n) for n in field.shape)))) ** 2
    frequency = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n, 1 / n) for n in field.shape), indexing="ij"))
    return float((power * frequency).sum() / power.sum())


@pytest.mark.parametrize("name", NAMES)
def test_the_spectrum_grows_with_the_order(name: str) -> None:
    found = []
    for order in (1, 4, 8, 16):
        rng = np.random.default_rng(order)
        found.append(np.mean([centroid(random_field(name, (64, 64), order, rng)) for _ in range(40)]))
    assert found == sorted(found)
    assert found[-1] > 1.5 * found[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(31, 20), (9, 12, 15)])
def test_a_field_fills_the_range_from_0_to_1(name: str, shape: tuple[int, ...]) -> None:
    field = random_field(name, shape, 6, np.random.default_rng(0))
    assert field.shape == shape
    assert field.dtype == np.float32
    assert (field.min(), field.max()) == (0.0, 1.0)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_the_field(name: str) -> None:
    a, b, c = (random_field(name, (16, 16), 5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_a_field_is_a_sum_of_products_of_one_family() -> None:
    # Projecting a Legendre field of order 3 on order 3 leaves nothing; a mixture is no Legendre field.
    x = np.linspace(-1, 1, 40)
    basis = np.linalg.qr(FAMILIES["legendre"].basis(3, x).T)[0]

    def left_over(field: np.ndarray) -> float:
        return float(np.abs(field - basis @ (basis.T @ field @ basis) @ basis.T).max())

    assert left_over(random_field("legendre", (40, 40), 3, np.random.default_rng(0))) < 1e-5
    assert left_over(random_field("chebyshev", (40, 40), 3, np.random.default_rng(0))) < 1e-5  # same polynomials
    assert left_over(random_field("fourier", (40, 40), 3, np.random.default_rng(0))) > 1e-2


def test_a_mixture_takes_its_axes_from_different_families() -> None:
    # Along one axis every row lies in the span of that axis's family: find which, over many draws.
    spans = {
        name: np.linalg.qr(family.basis(3, np.linspace(*family.window, 40)).T)[0] for name, family in FAMILIES.items()
    }

    def family_of(rows: np.ndarray) -> str:
        rest = {name: float(np.abs(rows - span @ (span.T @ rows)).max()) for name, span in spans.items()}
        found = min(rest, key=rest.get)
        return "polynomial" if found in ("legendre", "chebyshev") else found

    pairs = set()
    for seed in range(60):
        # Scaling to 0…1 adds a constant, which only some families hold: compare differences from the mean part.
        field = random_field(MIXTURE, (40, 40), 3, np.random.default_rng(seed)).astype(float)
        both = []
        for rows in (field, field.T):
            change = rows - rows[:, :1]  # differences of columns: the constant drops out
            both.append(family_of(change))
        pairs.add(tuple(both))
    assert {name for pair in pairs for name in pair} == {"polynomial", "hermite", "laguerre", "fourier"}
    assert any(a != b for a, b in pairs)


def test_order_0_is_a_product_of_constants_or_bells() -> None:
    assert not random_field("legendre", (8, 8), 0, np.random.default_rng(0)).any()
    assert random_field("hermite", (9, 9), 0, np.random.default_rng(0)).any()


def test_refuses_what_it_does_not_know() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"no family is called 'jacobi'.*legendre.*mixture"):
        random_field("jacobi", (8, 8), 3, rng)
    with pytest.raises(ValueError, match="order"):
        random_field("legendre", (8, 8), -1, rng)
    for shape in ((8,), (4, 4, 4, 4)):
        with pytest.raises(ValueError, match="two or three sides"):
            random_field("legendre", shape, 3, rng)
