"""What every engine has to pass; inherit :class:`EngineConformance` and set ``engine`` in a test module of your own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from materia.crystal import Crystal
from materia.errors import EngineError
from materia.simulation._failures import Failure, Reason
from materia.simulation._levels import ROUGH, Level
from materia.simulation.engines import BeyondPBE, Engine, Responds

SILICON = Crystal.from_species(
    np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * 5.47 / 2, ["Si", "Si"], [[0, 0, 0], [0.25, 0.25, 0.25]]
)
_BEYOND = ("spin_orbit", "hybrid", "hybrid_spin_orbit", "gllbsc", "screening")  # features that are methods of BeyondPBE


class EngineConformance:
    """Set ``engine``; override ``level`` and ``crystal`` where the engine cannot do silicon at ``rough``."""

    engine: Engine
    level: Level = ROUGH
    crystal: Crystal = SILICON

    def test_capabilities_are_stated(self) -> None:
        for found in (self.engine.capabilities(), self.engine.capabilities(self.level)):
            assert found.available == (not found.missing)
            assert found.available or found.remedy

    def test_says_whether_its_ranks_are_its_own_to_start(self) -> None:
        assert self.engine.own_ranks in (True, False)

    def test_one_process_is_a_world_of_its_own(self) -> None:
        world = self.engine.world()
        assert (world.rank, world.size, world.sum_scalar(2.5)) == (0, 1, 2.5)

    def test_pseudopotentials_have_stable_digests(self) -> None:
        elements = self.crystal.elements
        digests = self.engine.pseudopotentials(elements, self.level)
        assert set(digests) == set(elements)
        assert all(digests.values())
        assert digests == self.engine.pseudopotentials(list(reversed(elements)), self.level)

    def test_an_element_without_pseudopotential_is_an_engine_error(self) -> None:
        try:
            self.engine.pseudopotentials(["Og"], self.level)
        except EngineError as error:
            assert "Og" in str(error)
        else:
            raise AssertionError("no error for oganesson")

    def test_electrons_add_up(self) -> None:
        twice = Crystal(
            self.crystal.lattice @ np.diag([1, 1, 2]),
            np.tile(self.crystal.numbers, 2),
            np.tile(self.crystal.frac_coords, (2, 1)),
        )
        assert self.engine.n_electrons(twice, self.level) == 2 * self.engine.n_electrons(self.crystal, self.level)

    def test_what_it_settles_itself_can_be_recorded(self) -> None:
        choices = self.engine.choices(self.crystal, self.level)
        assert json.loads(json.dumps(choices)) == choices

    def test_energy_forces_and_stress(self, tmp_path: Path) -> None:
        atoms = self.crystal.to_ase()
        atoms.calc = self.engine.calculator(self.crystal, self.level, tmp_path / "log.txt")
        assert np.isfinite(atoms.get_potential_energy())
        assert atoms.get_forces().shape == (self.crystal.n_atoms, 3)
        assert atoms.get_stress().shape == (6,)

    def test_bands_come_in_rising_order_or_there_are_none(self, tmp_path: Path) -> None:
        atoms = self.crystal.to_ase()
        atoms.calc = self.engine.calculator(self.crystal, self.level, tmp_path / "log.txt")
        atoms.get_potential_energy()
        if not self.engine.electrons:
            assert self.engine.n_electrons(self.crystal, self.level) == 0
            try:
                self.engine.bands(atoms, self.level, tmp_path / "bands.txt")
            except Failure:
                return
            raise AssertionError("bands without electrons")
        bands = self.engine.bands(atoms, self.level, tmp_path / "bands.txt")
        assert 2 * bands.n_occupied == self.engine.n_electrons(self.crystal, self.level)
        for kpoints, eigenvalues in ((bands.grid_kpoints, bands.grid), (bands.path_kpoints, bands.path)):
            assert kpoints.shape == (len(eigenvalues), 3)
            assert eigenvalues.shape[1] >= bands.n_occupied + 1
            assert (np.diff(eigenvalues, axis=1) > -1e-6).all(), "bands come in rising order"

    def test_with_spin_orbit_coupling_states_come_in_pairs_where_time_reversal_says_so(self, tmp_path: Path) -> None:
        offered = {name for name in _BEYOND if self.engine.capabilities().features.get(name)}
        assert not offered or isinstance(self.engine, BeyondPBE)
        if "spin_orbit" not in offered or not isinstance(self.engine, BeyondPBE):
            return
        atoms = self.crystal.to_ase()
        atoms.calc = self.engine.calculator(self.crystal, self.level, tmp_path / "log.txt")
        atoms.get_potential_energy()
        invariant = np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]])
        eigenvalues = self.engine.spin_orbit(atoms, invariant, tmp_path / "spin_orbit.txt")
        assert eigenvalues.shape[0] == 2
        assert eigenvalues.shape[1] >= self.engine.n_electrons(self.crystal, self.level) + 6
        assert (np.diff(eigenvalues, axis=1) > -1e-6).all(), "eigenvalues come in rising order"
        assert np.allclose(eigenvalues[:, ::2], eigenvalues[:, 1::2], atol=1e-3)

    def test_perturbation_theory_is_offered_by_who_does_it(self) -> None:
        offered = bool(self.engine.capabilities().features.get("dielectric"))
        assert not offered or isinstance(self.engine, Responds)

    def test_remedies_leave_the_energy_as_it_is(self, tmp_path: Path) -> None:
        energies = []
        remedies = {self.engine.remedy(reason) or "" for reason in Reason}
        for number, remedy in enumerate(sorted({""} | remedies)):
            atoms = self.crystal.to_ase()
            atoms.calc = self.engine.calculator(self.crystal, self.level, tmp_path / f"{number}.txt", remedy=remedy)
            energies.append(atoms.get_potential_energy() / len(atoms))
        assert np.ptp(energies) < 1e-3, "a remedy changed the level of theory"

    def test_failures_are_typed(self) -> None:
        failure = Failure(Reason.GEOMETRY_EXPLODED, "as told")
        assert self.engine.classify(failure) is failure
        assert self.engine.classify(MemoryError()).reason is Reason.OUT_OF_MEMORY
        assert self.engine.classify(RuntimeError("?")).reason is Reason.UNEXPECTED

    def test_versions_are_named(self) -> None:
        assert self.engine.versions()
