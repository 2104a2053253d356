"""Imported calculations: what is at one of our levels is done, what is not is a label of its own level."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ase.build import bulk
from typer.testing import CliRunner

from materia import quantities as q
from materia.campaign import import_calculations
from materia.campaign._database import CampaignDatabase
from materia.campaign._knowledge import Knowledge
from materia.campaign._ladder import dataset_store
from materia.campaign._learning import _examples
from materia.campaign._rungs import LadderSettings
from materia.cli._app import app
from materia.compute import ComputeSettings, JobManager, open_backend
from materia.compute.testing import drive, open_ledger
from materia.crystal import Crystal
from materia.data import Dataset, Entry, read_labelled
from materia.errors import DatasetError
from materia.record import Label, OutcomeKind
from materia.simulation import ROUGH, Level, level_hash, make_job

OTHER = ROUGH.model_copy(update={"cutoff_ev": 300.0})
LIH = Crystal.from_ase(bulk("LiH", "rocksalt", a=3.9))


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A relaxation at level rough, and a single energy at another cutoff, as their logs tell of them."""
    pytest.importorskip("gpaw")
    root = tmp_path_factory.mktemp("gpaw")
    jobs = {"relaxed": make_job("relax", LIH, ROUGH), "other": make_job("static", LIH, OTHER)}
    ledger = open_ledger(root)
    for job in jobs.values():
        ledger.add(job)
    outcomes = drive(JobManager(ledger, open_backend(ComputeSettings(backend="local")), root), 300)
    for name, job in jobs.items():
        assert outcomes[job.key].ok, outcomes[job.key]
        (root / name).mkdir()
        (root / name / "values.json").write_text(json.dumps(dict(outcomes[job.key].values)))
        for log in (root / outcomes[job.key].folder).glob("*.txt"):
            shutil.copy(log, root / name)
    return root


@pytest.mark.gpaw
def test_at_our_level_it_is_never_computed_again(logs: Path, tmp_path: Path) -> None:
    """The job of that recipe, structure and level has its outcome before anything is submitted."""
    done = import_calculations([logs / "relaxed"], tmp_path / "mine")
    (entry,) = done.dataset
    assert done.done == done.new == (entry.id,)
    assert {label.level_hash for label in entry.labels} == {level_hash(ROUGH)}
    assert entry.values().keys() == {q.ENERGY, q.VOLUME}  # no references at this level, so no formation energy
    root = tmp_path / "campaign"
    root.mkdir()
    ledger = open_ledger(root)
    job = make_job("relax", LIH, ROUGH)
    ledger.add(job)
    backend = open_backend(ComputeSettings(backend="local"))
    manager = JobManager(ledger, backend, root, stores=[dataset_store(Dataset.load(tmp_path / "mine"))])
    (outcome,) = manager.advance()
    assert (outcome.key, outcome.kind) == (job.key, OutcomeKind.COMPLETED)
    assert not (root / "jobs").exists()
    computed = json.loads((logs / "relaxed" / "values.json").read_text())
    assert outcome.values.keys() == computed.keys()
    for name in ("energy_per_atom", "max_force", "max_stress", "volume_per_atom", "volume_ratio", "n_steps"):
        assert outcome.values[name] == pytest.approx(computed[name], rel=1e-3, abs=1e-5), name


@pytest.mark.gpaw
def test_at_another_level_it_is_a_label_of_its_own(logs: Path, tmp_path: Path) -> None:
    found = import_calculations([logs / "relaxed", logs / "other"], tmp_path / "mine")
    (done,) = found.done
    other = next(entry for entry in found.dataset if entry.id != done)
    assert [job.recipe for job in other.jobs] == ["imported calculations"]
    levels = {label.level_hash for label in other.labels}
    assert level_hash(ROUGH) not in levels
    (settings,) = [found.dataset.card["levels"][digest] for digest in levels]
    assert (settings["code"], settings["functional"], settings["cutoff_ev"]) == ("gpaw", "PBE", 300.0)
    assert other.jobs[0].provenance["file"] == "scf.txt"
    with pytest.raises(DatasetError, match="energy_per_atom is there at 2 levels of theory"):
        read_labelled(tmp_path / "mine", {q.ENERGY: q.ENERGY})


@pytest.mark.gpaw
@pytest.mark.parametrize(
    "change",
    [
        ("width=0.05", "width=0.1", "width: 0.0500", "width: 0.1000"),
        ("size=(6, 6, 6)", "size=(4, 4, 4)", "size: [6, 6, 6]", "size: [4, 4, 4]"),
        ("gamma=True", "gamma=False"),
        ("Cutoff: 350.0", "Cutoff: 340.0"),
        ("  spinpol=False,", "  spinpol=False,\n  convergence={'density': 0.01},"),
        ("id:      ", "id:      0"),
    ],
    ids=["smearing", "k-points", "grid without gamma", "cutoff", "convergence", "PAW datasets"],
)
def test_one_other_setting_is_another_level(logs: Path, tmp_path: Path, change: tuple[str, ...]) -> None:
    text = (logs / "relaxed" / "relax.txt").read_text()
    for old, new in zip(change[::2], change[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    if change[0].startswith("id"):
        text = text.replace("id:      0", "id:      ").replace("830b", "930b")  # a digit of hydrogen's or lithium's
    (tmp_path / "relax.txt").write_text(text)
    found = import_calculations([tmp_path / "relax.txt"], tmp_path / "mine")
    assert len(found.new) == 1
    assert found.done == ()
    assert {job.recipe for job in found.dataset.entries[0].jobs} == {"imported calculations"}


@pytest.mark.gpaw
def test_unrelaxed_at_our_level_is_an_energy(logs: Path, tmp_path: Path) -> None:
    """Done is the single energy; a relaxation is not, and nothing is learned from a strained cell."""
    text = (logs / "relaxed" / "relax.txt").read_text()
    first, second = text.index("Atoms  #"), text.rindex("Atoms  #")
    assert first < second
    (tmp_path / "strained.txt").write_text(text[:second])  # LiH at 3.9 Å, 3 % short: several GPa
    found = import_calculations([tmp_path / "strained.txt"], tmp_path / "mine")
    (entry,) = found.dataset
    assert found.done == (entry.id,)
    assert [job.recipe for job in entry.jobs] == ["static", "imported calculations"]
    assert entry.jobs[0].key == make_job("static", LIH, ROUGH).key
    assert set(entry.values()) == {q.ENERGY}


@pytest.mark.gpaw
def test_a_log_that_is_cut_off_or_did_not_converge(logs: Path, tmp_path: Path) -> None:
    text = (logs / "relaxed" / "relax.txt").read_text()
    (tmp_path / "cut.txt").write_text(text[: text.rindex("Converged in")])
    (tmp_path / "lda.txt").write_text(text.replace("xc=XC(name='PBE')", "xc=XC(name='LDA')"))
    found = import_calculations([tmp_path / "cut.txt", tmp_path / "lda.txt"], tmp_path / "mine")
    assert len(found.dataset) == 0
    assert [row.reason.partition(":")[0] for row in found.quarantine] == ["not converged", "computed with LDA"]


def summary(n: int) -> dict[str, Any]:
    """Synthetic entry: the form of the Materials Project's summaries, numbers of no one's."""
    structure = {"lattice": (LIH.lattice * (1 + n / 100)).tolist(), "species": ["Li", "H"]}
    record = {**structure, "frac_coords": LIH.frac_coords.tolist()}
    return {"material_id": f"mp-{n}", "structure": record, "formation_energy_per_atom": -0.4, "band_gap": 3.0}


def test_twice_adds_nothing_and_more_adds_more(tmp_path: Path) -> None:
    source, out = tmp_path / "mp.json", tmp_path / "mine"
    source.write_text(json.dumps([summary(1), summary(2), summary(1), {**summary(3), "deprecated": True}]))
    first = import_calculations([source], out)
    assert (len(first.new), first.known, len(first.quarantine)) == (2, 1, 1)
    written = {path.name: path.read_bytes() for path in out.iterdir()}
    again = import_calculations([source], out)
    assert (again.new, again.known) == ((), 3)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == written
    other = tmp_path / "copy.json"
    other.write_text(json.dumps([summary(2), summary(4)]))
    assert len(import_calculations([other], out).new) == 1
    assert len(Dataset.load(out)) == 3
    labels = {(x.quantity, x.fidelity) for entry in Dataset.load(out) for x in entry.labels}
    assert labels == {(q.FORMATION_ENERGY_MP, "MP-PBE"), (q.GAP_MP, "MP-PBE")}


def test_a_calculation_without_a_number_of_ours_is_set_aside(tmp_path: Path) -> None:
    record = {"lattice": LIH.lattice.tolist(), "species": ["Li", "H"], "frac_coords": LIH.frac_coords.tolist()}
    hybrid = {"LHFCALC": True, "HFSCREEN": 0.2, "AEXX": 0.25}  # an energy alone: no quantity for it
    task = {"input": {"parameters": hybrid}, "output": {"structure": record, "energy": -10.0}}
    (tmp_path / "task.json").write_text(json.dumps(task))
    found = import_calculations([tmp_path / "task.json"], tmp_path / "mine")
    assert (len(found.dataset), found.quarantine[0].reason[:6]) == (0, "HSE06,")


def test_another_s_dataset_is_left_alone(tmp_path: Path) -> None:
    Dataset((), {"name": "theirs"}).save(tmp_path / "theirs")
    source = tmp_path / "mp.json"
    source.write_text(json.dumps([summary(1)]))
    with pytest.raises(DatasetError, match="holds the dataset 'theirs', which was not imported"):
        import_calculations([source], tmp_path / "theirs")
    with pytest.raises(DatasetError, match="no such file or folder"):
        import_calculations([tmp_path / "nothing"], tmp_path / "mine")


def test_command(tmp_path: Path) -> None:
    source = tmp_path / "mp.json"
    source.write_text(json.dumps([summary(1), {**summary(2), "deprecated": True}]))
    command = ["data", "import", str(source), "--out", str(tmp_path / "mine")]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "1 new, 0 known already, 1 set aside" in shown.output.replace("\n", " ")
    record = json.loads(CliRunner().invoke(app, [*command, "--json"]).output)
    assert (record["n"], record["new"], record["known"]) == (1, [], 1)
    assert record["quarantine"][0]["place"] == "mp.json:2"


def test_what_a_campaign_makes_of_it(tmp_path: Path) -> None:
    """Learns from labels at its own level; a candidate of which only the energy is known is still to be computed."""
    level = level_hash(ROUGH)

    def entry(name: str, *labels: tuple[str, str]) -> Entry:
        made = tuple(Label(quantity, 1.0, "PBE", "", digest, "") for quantity, digest in labels)
        return Entry(name, "", "computed", "", LIH, LIH, made, ())

    database = CampaignDatabase(tmp_path / "campaign.sqlite")

    def campaign(*entries: Entry) -> Any:
        goals = [SimpleNamespace(quantity=name) for name in (q.GAP_PBE, q.ENERGY_ABOVE_HULL)]
        settings = SimpleNamespace(ladder=LadderSettings(level="rough"), objectives=goals, constraints=[])
        pool = SimpleNamespace(formulas=["LiH"], crystal=lambda _: LIH)
        dataset = Dataset(entries, {"levels": {}})
        return SimpleNamespace(settings=settings, pool=pool, dataset=dataset, database=database, references=None)

    known = campaign(entry("a", (q.GAP_PBE, level), (q.FORMATION_ENERGY, level)))
    assert Knowledge(known).labelled == {0: "a"}
    assert _examples(known)["dataset/a"].targets == {q.GAP_PBE: 1.0, q.FORMATION_ENERGY: 1.0}
    for labels in (((q.ENERGY, level), (q.FORMATION_ENERGY, level)), ((q.GAP_PBE, "x"), (q.FORMATION_ENERGY, "x"))):
        assert Knowledge(campaign(entry("b", *labels))).labelled == {}
    assert _examples(campaign(entry("c", (q.GAP_PBE, "x")))) == {}


def test_levels_are_told_by_every_setting() -> None:
    """Guards the list in ``recognise``: a setting added to levels has to be compared there as well."""
    compared = {"cutoff_ev", "kpoint_density", "smearing_ev", "spin", "hubbard_u", "xc", "engine"}
    of_the_end = {"force_tolerance", "stress_tolerance"}  # the results are held against them
    not_of_an_energy = {"name", "fidelity", "path_density"}
    of_another_engine = {"potential"}  # a level that has one is none of a program whose files are read
    assert set(Level.model_fields) == compared | of_the_end | not_of_an_energy | of_another_engine
