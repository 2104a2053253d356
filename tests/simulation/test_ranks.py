"""Jobs of several ranks: their layout, what they ask for, and a real one of two ranks under srun."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from ase.build import bulk

from materia.compute import ComputeSettings, JobManager, Retries, Site, open_backend
from materia.compute.testing import drive, open_ledger
from materia.crystal import Crystal
from materia.record import Outcome, OutcomeKind
from materia.simulation import ROUGH, STANDARD, engine, make_job
from materia.simulation._ranks import Layout, layout, useful_ranks

SILICON = Crystal.from_ase(bulk("Si", "diamond", a=5.60))


@pytest.mark.parametrize(
    ("n_kpoints", "ranks", "expected"),
    [
        (10, 1, Layout(1, 1)),
        (10, 5, Layout(5, 1)),
        (10, 10, Layout(10, 1)),
        (10, 20, Layout(10, 2)),
        (10, 12, Layout(6, 2)),  # no group without a k-point
        (1, 4, Layout(1, 4)),
        (3, 7, Layout(1, 7)),  # a prime number of ranks
    ],
)
def test_kpoints_are_shared_out_first(n_kpoints: int, ranks: int, expected: Layout) -> None:
    assert layout(n_kpoints, ranks) == expected


@pytest.mark.parametrize(
    ("n_kpoints", "shares", "most", "expected"),
    [
        (10, 4, 1, 1),
        (10, 4, 4, 4),  # 3, 3, 2, 2 points
        (10, 4, 8, 5),  # two points each: eight ranks would not be faster
        (10, 4, 10, 10),
        (10, 4, 29, 20),  # whole multiples
        (10, 4, 1000, 40),
        (10, 1, 29, 10),  # where plane waves cannot be shared out
        (1, 4, 3, 3),
    ],
)
def test_no_more_ranks_than_shorten_the_job(n_kpoints: int, shares: int, most: int, expected: int) -> None:
    useful = useful_ranks(n_kpoints, most, shares)
    assert useful == expected
    shared_out = layout(n_kpoints, useful)
    assert shared_out.kpoints * shared_out.shares == useful
    assert shared_out.kpoints <= n_kpoints
    assert shared_out.shares <= shares


@pytest.mark.gpaw
def test_ranks_change_what_a_job_asks_for_and_not_its_key() -> None:
    pytest.importorskip("gpaw_data", reason="the PAW datasets of GPAW are not installed")
    alone, together = make_job("relax", SILICON, STANDARD), make_job("relax", SILICON, STANDARD, ranks=4)
    assert (alone.key, alone.payload, alone.argv) == (together.key, together.payload, together.argv)
    assert (alone.resources.cores, alone.resources.ranks) == (1, 1)
    assert (together.resources.cores, together.resources.ranks) == (4, 4)
    assert together.resources.memory_mb == alone.resources.memory_mb + 3 * 150  # three programs more
    molecule = make_job("molecule", SILICON, STANDARD, ranks=3).resources  # one k-point
    assert molecule.ranks == (3 if engine("gpaw").capabilities().features.get("scalapack") else 1)


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.gpaw
def test_two_ranks_under_srun_find_what_one_finds(slurm_site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    found = engine("gpaw").capabilities()
    if not found.features.get("mpi"):
        pytest.skip(f"GPAW has no MPI here: {found.missing or 'it was built without'}")
    recipes = ["relax", "gap"]
    if found.features.get("scalapack"):
        recipes.append("molecule")  # one k-point: its plane waves are shared out
    one, two = ({r: _computed(tmp_path_factory.mktemp("ranks"), r, ranks) for r in recipes} for ranks in (1, 2))
    for recipe in recipes:
        alone, together = one[recipe], two[recipe]
        assert together.values["energy_per_atom"] == pytest.approx(alone.values["energy_per_atom"], abs=1e-6)
        assert together.key == alone.key
        used = together.provenance["compute"]
        assert used["granted"]["cores"] == 2
        # every rank is counted, not the launcher alone: two programs in memory, and the work of both
        assert used["max_rss_mb"] > 1.5 * alone.provenance["compute"]["max_rss_mb"]
        assert together.cpu_s > 0.6 * alone.cpu_s
    assert two["gap"].values["gap_pbe"] == pytest.approx(one["gap"].values["gap_pbe"], abs=1e-5)
    assert two["relax"].values["volume_per_atom"] == pytest.approx(one["relax"].values["volume_per_atom"], abs=1e-3)


ALONE_IN_TROUBLE = """
import sys
from gpaw.mpi import world
from materia.simulation import worker
from materia.simulation.engines.gpaw import GPAWEngine

def no_room(*_):
    raise MemoryError("rank 1 has no room")

if world.rank == 1:
    GPAWEngine.bands = no_room
sys.exit(worker.main())
"""


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.gpaw
def test_what_one_rank_alone_runs_into_is_the_job_s_typed_failure(slurm_site: Site, tmp_path: Path) -> None:
    """The other rank waits for it in the middle of a calculation."""
    if not engine("gpaw").capabilities().features.get("mpi"):
        pytest.skip("GPAW has no MPI here")
    settings = ComputeSettings(backend="slurm", site="dev", retries=Retries(crashes=0))
    manager = JobManager(open_ledger(tmp_path), open_backend(settings), tmp_path, retries=settings.retries)
    spec = make_job("gap", SILICON, ROUGH, ranks=2)
    program = f"import os; os.environ['GPAW_MPI_BACKEND'] = 'cgpaw'\n{ALONE_IN_TROUBLE}"
    manager.ledger.add(dataclasses.replace(spec, argv=("python", "-c", program)))
    outcome = drive(manager, timeout_s=300)[spec.key]
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "out_of_memory"), outcome
    assert "rank 1 has no room" in outcome.message
    assert outcome.wall_s < 120


def _computed(root: Path, recipe: str, ranks: int) -> Outcome:
    """Through ledger, manager, sbatch and srun."""
    manager = JobManager(open_ledger(root), open_backend(ComputeSettings(backend="slurm", site="dev")), root)
    spec = make_job(recipe, SILICON, ROUGH, ranks=ranks)
    assert spec.resources.ranks == ranks
    manager.ledger.add(spec)
    outcome = drive(manager, timeout_s=300)[spec.key]
    assert outcome.ok, outcome
    assert outcome.provenance["ranks"] == ranks
    return outcome
