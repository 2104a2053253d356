"""What every surrogate has to pass; inherit :class:`SurrogateConformance` and give a fixture ``surrogate``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from materia.crystal import Crystal
from materia.quantities import Form, Kind
from materia.surrogate._predictions import Predictions
from materia.surrogate._surrogate import Surrogate

_FCC = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
_A, _C = 3.25, 5.2  # zinc oxide, Å
CRYSTALS = (
    Crystal.from_species(_FCC * 5.64, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    Crystal.from_species(_FCC * 5.65, ["Ga", "As"], [[0, 0, 0], [0.25, 0.25, 0.25]]),
    Crystal.from_species(
        [[_A / 2, -_A * 0.75**0.5, 0], [_A / 2, _A * 0.75**0.5, 0], [0, 0, _C]],
        ["Zn", "Zn", "O", "O"],
        [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, 0.38], [2 / 3, 1 / 3, 0.88]],
    ),
    Crystal.from_species(  # no symmetry at all, not even inversion
        [[4.1, 0.2, -0.3], [0.7, 5.2, 0.4], [-0.5, 0.9, 6.3]],
        ["Ga", "Cl", "O", "Na"],
        [[0.02, 0.1, 0.05], [0.51, 0.43, 0.22], [0.13, 0.62, 0.71], [0.67, 0.05, 0.58]],
    ),
)

Array = NDArray[np.float64]


class SurrogateConformance:
    """Physics and bookkeeping that hold whatever was learned.

    Attributes:
        tolerance: largest difference of two predictions that must be equal, relative to the largest value among the
            crystals. The default suits networks in single precision; give 1e-9 for double precision.
        std_tolerance: the same of standard deviations and interval ends, which hang on distances in single precision.
        crystals: what is predicted; the last one has no symmetry.
    """

    tolerance: float = 2e-5
    std_tolerance: float = 2e-3
    crystals: Sequence[Crystal] = CRYSTALS

    def test_shapes_and_forms(self, surrogate: Surrogate) -> None:
        found = surrogate.predict(self.crystals)
        n, names = len(self.crystals), [q.name for q in surrogate.quantities]
        assert list(found.targets) == names
        assert found.mean.shape == found.std.shape == (n, len(names))
        assert len(found.embedding) == len(found.in_domain) == len(found) == n
        for q in surrogate.quantities:
            mean, std = found.column(q.name)
            assert np.isfinite(mean).all() and (std >= 0).all()
            assert found.form(q.name) is q.form
            if q.lower is not None:
                assert (mean >= q.lower).all()
            if q.form is Form.CLASS:
                assert ((mean >= 0) & (mean <= 1)).all()
                continue
            lower, upper = found.interval(q.name)
            assert ((lower <= mean) & (mean <= upper)).all()
            np.testing.assert_array_less(0.0, std)
            if q.form is Form.TENSOR:
                tensor = found.tensors[q.name]
                assert tensor.shape == (n, 3, 3)
                np.testing.assert_allclose(tensor, tensor.transpose(0, 2, 1), rtol=1e-12)
                assert (np.linalg.eigvalsh(tensor) > 0).all()
                np.testing.assert_allclose(np.trace(tensor, axis1=1, axis2=2) / 3, mean, rtol=1e-9)

    def test_rotation(self, surrogate: Surrogate) -> None:
        for turn in (_rotation(0.4, -1.2, 2.2), -_rotation(2.1, 0.3, -0.7)):  # the second one turns inside out
            turned = [Crystal(c.lattice @ turn.T, c.numbers, c.frac_coords) for c in self.crystals]
            self.equal(surrogate, turned, turn=turn)

    def test_inversion(self, surrogate: Surrogate) -> None:
        self.equal(surrogate, [Crystal(c.lattice, c.numbers, -c.frac_coords) for c in self.crystals])

    def test_translation(self, surrogate: Surrogate) -> None:
        shift = np.array([0.317, -1.211, 0.05])
        self.equal(surrogate, [Crystal(c.lattice, c.numbers, c.frac_coords + shift) for c in self.crystals])

    def test_order_of_atoms(self, surrogate: Surrogate) -> None:
        orders = [np.random.default_rng(0).permutation(c.n_atoms) for c in self.crystals]
        self.equal(
            surrogate,
            [Crystal(c.lattice, c.numbers[o], c.frac_coords[o]) for c, o in zip(self.crystals, orders, strict=True)],
        )

    def test_choice_of_cell(self, surrogate: Surrogate) -> None:
        change = np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]])
        back = np.linalg.inv(change)
        self.equal(surrogate, [Crystal(change @ c.lattice, c.numbers, c.frac_coords @ back) for c in self.crystals])

    def test_supercell(self, surrogate: Surrogate) -> None:
        """What is intensive stays, what is extensive doubles."""
        self.equal(surrogate, [Crystal.from_ase(c.to_ase().repeat((1, 2, 1))) for c in self.crystals], size=2.0)

    def test_company_changes_nothing(self, surrogate: Surrogate) -> None:
        together = surrogate.predict(self.crystals)
        for k, crystal in enumerate(self.crystals):
            self.compare(surrogate, together, surrogate.predict([crystal]), rows=slice(k, k + 1))
        backwards = surrogate.predict(list(reversed(self.crystals)))
        self.compare(surrogate, together, backwards, order=slice(None, None, -1))

    def test_graphs_prepared_before(self, surrogate: Surrogate) -> None:
        again = surrogate.predict(surrogate.prepare(self.crystals))
        np.testing.assert_array_equal(again.mean, surrogate.predict(self.crystals).mean)

    def test_nothing_to_predict(self, surrogate: Surrogate) -> None:
        found = surrogate.predict([])
        assert len(found) == 0 and found.mean.shape == (0, len(surrogate.quantities))

    def test_saved_and_loaded(self, surrogate: Surrogate, tmp_path: Path) -> None:
        surrogate.save(tmp_path)
        loaded = type(surrogate).load(tmp_path, device=surrogate.device)
        before, after = surrogate.predict(self.crystals), loaded.predict(self.crystals)
        for name in ("mean", "std", "embedding", "in_domain"):
            np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
        for name, tensor in before.tensors.items():
            np.testing.assert_array_equal(tensor, after.tensors[name])

    def test_the_comparisons_could_fail(self, surrogate: Surrogate) -> None:
        """A strain of three per cent moves every quantity by far more than the tolerance."""
        strain = np.diag([1.03, 1.0, 0.98])
        strained = [Crystal(c.lattice @ strain, c.numbers, c.frac_coords) for c in self.crystals]
        before, after = surrogate.predict(self.crystals), surrogate.predict(strained)
        change = np.abs(before.mean - after.mean).max(axis=0)
        assert (change > 10 * self.tolerance * np.abs(before.mean).max(axis=0)).all()

    def equal(
        self, surrogate: Surrogate, changed: Sequence[Crystal], turn: Array | None = None, size: float = 1.0
    ) -> None:
        """Predictions of changed crystals are the same, but for their size and the frame of their tensors."""
        before, after = surrogate.predict(self.crystals), surrogate.predict(changed)
        self.compare(surrogate, before, after, turn=turn, size=size)

    def compare(
        self,
        surrogate: Surrogate,
        before: Predictions,
        after: Predictions,
        *,
        turn: Array | None = None,
        size: float = 1.0,
        rows: slice = slice(None),
        order: slice = slice(None),
    ) -> None:
        """``before[rows]`` against ``after[order]``."""
        turn = np.eye(3) if turn is None else turn
        for q in surrogate.quantities:
            factor = size if q.kind is Kind.EXTENSIVE else 1.0
            (mean, std), (mean2, std2) = before.column(q.name), after.column(q.name)
            largest = float(np.abs(factor * mean).max())
            np.testing.assert_allclose(
                mean2[order], factor * mean[rows], rtol=0, atol=self.tolerance * largest, err_msg=q.name
            )
            np.testing.assert_allclose(std2[order], factor * std[rows], rtol=self.std_tolerance, err_msg=q.name)
            if q.form is Form.TENSOR:
                turned = turn @ before.tensors[q.name] @ turn.T
                difference = np.linalg.norm(after.tensors[q.name][order] - turned[rows], axis=(1, 2))
                assert difference.max() < self.tolerance * np.linalg.norm(turned, axis=(1, 2)).max(), q.name
        assert (after.in_domain[order] == before.in_domain[rows]).all()


def _rotation(a: float, b: float, c: float) -> Array:
    """About z, then y, then z; radians."""

    def about_z(angle: float) -> Array:
        return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])

    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    turn: Array = about_z(c) @ about_y @ about_z(a)
    return turn
