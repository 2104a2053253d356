"""pw.x on two ranks: under mpirun here, and inside a job of a real Slurm."""

from __future__ import annotations

import dataclasses
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ase.build import bulk

from espresso_pseudos import copy_chosen, skip_without_espresso, use
from materia.compute import ComputeSettings, JobManager, Retries, Site, open_backend
from materia.compute._mpi import Mpi
from materia.compute.launcher import marked, process_identity
from materia.compute.testing import drive, open_ledger
from materia.crystal import Crystal
from materia.record import Outcome, OutcomeKind
from materia.simulation import ESPRESSO_ROUGH, make_job
from materia.simulation.engines.espresso import EspressoEngine

pytestmark = [pytest.mark.espresso, pytest.mark.slow]
skip_without_espresso()
if shutil.which("mpirun") is None:
    pytest.skip("there is no mpirun", allow_module_level=True)

SILICON = Crystal.from_ase(bulk("Si", "diamond", a=5.60))
# Debian's pw.x speaks to its own mpirun: its Open MPI was built for PMIx, which Debian's srun does not load.
MPIRUN = ("mpirun", "--oversubscribe", "-n", "{ranks}")


@pytest.fixture(autouse=True, scope="module")
def pseudos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        use(patch, copy_chosen(tmp_path_factory.mktemp("espresso") / "pseudo"))
        yield


def on_this_machine(launch: tuple[str, ...] = MPIRUN) -> ComputeSettings:
    return ComputeSettings(ranks=2, cores=2, mpi=Mpi(launch=launch), retries=Retries(crashes=0))


def through_slurm(launch: tuple[str, ...] = MPIRUN) -> ComputeSettings:
    overrides = {"mpi": {"launch": list(launch)}}
    return ComputeSettings(backend="slurm", site="dev", ranks=2, overrides=overrides, retries=Retries(crashes=0))


def computed(root: Path, settings: ComputeSettings, recipe: str, ranks: int) -> Outcome:
    root.mkdir(exist_ok=True)
    manager = JobManager(open_ledger(root), open_backend(settings), root, retries=settings.retries)
    spec = make_job(recipe, SILICON, ESPRESSO_ROUGH, ranks=ranks)
    assert spec.resources.ranks == ranks
    manager.ledger.add(spec)
    return drive(manager, timeout_s=300)[spec.key]


def the_same(root: Path, one: Outcome, two: Outcome) -> None:
    assert (one.kind, two.kind) == (OutcomeKind.COMPLETED, OutcomeKind.COMPLETED), (one, two)
    assert one.key == two.key
    assert two.values["energy_per_atom"] == pytest.approx(one.values["energy_per_atom"], abs=1e-7)
    assert (one.provenance["ranks"], two.provenance["ranks"]) == (1, 2)
    for log in (root / "two" / two.folder).glob("*.txt"):
        text = log.read_text()
        assert "running on     2 processors" in text
        assert re.search(r"K-points division: +npool += +2", text), f"{log.name}: the k-points are shared out"
    for log in (root / "one" / one.folder).glob("*.txt"):
        assert "npool" not in log.read_text()


def test_its_job_starts_one_python_and_the_launcher_goes_to_pw() -> None:
    argv = make_job("gap", SILICON, ESPRESSO_ROUGH, ranks=2).argv
    asked = make_job("gap", SILICON, ESPRESSO_ROUGH, ranks=2).resources
    mpi = Mpi(launch=MPIRUN)
    assert mpi.command(argv, asked)[:4] == ["python", "-m", "materia.simulation.worker", "mpirun"]
    alone = dataclasses.replace(asked, ranks=1)
    assert mpi.command(argv, alone) == ["python", "-m", "materia.simulation.worker"]
    assert open_backend(ComputeSettings()).command(argv, alone)[1:] == ["-m", "materia.simulation.worker"]


def test_two_ranks_find_what_one_finds(tmp_path: Path) -> None:
    one = computed(tmp_path / "one", on_this_machine(), "gap", 1)
    two = computed(tmp_path / "two", on_this_machine(), "gap", 2)
    the_same(tmp_path, one, two)
    assert two.values["gap_pbe"] == pytest.approx(one.values["gap_pbe"], abs=1e-5)


def test_plane_waves_are_shared_out_where_there_is_one_kpoint(tmp_path: Path) -> None:
    engine = EspressoEngine()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MATERIA_RANKS", "2")
        patch.setenv("MATERIA_LAUNCHER", " ".join(MPIRUN).format(ranks=2))
        atoms = SILICON.to_ase()
        atoms.calc = engine.calculator(SILICON, ESPRESSO_ROUGH, tmp_path / "two.txt", kpts={"size": (1, 1, 1)})
        two = atoms.get_potential_energy()
        assert (atoms.calc.solution.ranks, atoms.calc.solution.pools) == (2, 1)
    atoms.calc = engine.calculator(SILICON, ESPRESSO_ROUGH, tmp_path / "one.txt", kpts={"size": (1, 1, 1)})
    assert two == pytest.approx(atoms.get_potential_energy(), abs=1e-6)


def test_a_launcher_that_starts_no_ranks_is_found_out(tmp_path: Path) -> None:
    outcome = computed(tmp_path, on_this_machine(("env",)), "static", 2)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "engine_missing"), outcome
    assert "mpi.launch" in outcome.message


def test_no_rank_outlives_its_job(tmp_path: Path) -> None:
    """mpirun gives each rank a process group of its own."""
    settings = on_this_machine()
    manager = JobManager(open_ledger(tmp_path), open_backend(settings), tmp_path, retries=Retries(timeouts=0))
    long = make_job("static", SILICON, ESPRESSO_ROUGH.model_copy(update={"cutoff_ev": 5000.0}), ranks=2)
    spec = dataclasses.replace(long, resources=dataclasses.replace(long.resources, walltime_s=10))
    manager.ledger.add(spec)
    seen: set[int] = set()
    while manager.active:
        manager.advance()
        here = marked(f"MATERIA_ATTEMPT_FOLDER={tmp_path / 'jobs' / spec.key / '1'}")
        seen |= {pid for pid in here if _name(pid) == "pw.x"}
        time.sleep(0.1)
    (job,) = manager.ledger.jobs()
    assert job.outcome is not None
    assert job.outcome.kind is OutcomeKind.TIMEOUT, job.outcome
    assert len(seen) > 2, "the one asked for its version, and two ranks"
    time.sleep(1.0)  # a process that was killed takes a moment to give its memory back
    assert [pid for pid in seen if process_identity(pid)] == []


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


@pytest.mark.slurm
def test_two_ranks_in_a_slurm_job_find_what_one_finds(slurm_site: Site, tmp_path: Path) -> None:
    one = computed(tmp_path / "one", through_slurm(), "relax", 1)
    two = computed(tmp_path / "two", through_slurm(), "relax", 2)
    the_same(tmp_path, one, two)
    used = two.provenance["compute"]
    assert used["granted"]["cores"] == 2
    assert used["max_rss_mb"] > 1.3 * one.provenance["compute"]["max_rss_mb"], "every rank is counted"


@pytest.mark.slurm
def test_a_launcher_of_another_mpi_is_said_to_be_that(slurm_site: Site, tmp_path: Path) -> None:
    """Open MPI under srun's pmi2: each rank would abort, or compute alone."""
    srun = ("srun", "--mpi=pmi2", "--kill-on-bad-exit=1", "--ntasks={ranks}", "--cpus-per-task={threads}")
    outcome = computed(tmp_path, through_slurm(srun), "static", 2)
    assert (outcome.kind, outcome.reason) == (OutcomeKind.FAILED, "engine_missing"), outcome
    assert "mpi.launch" in outcome.message
