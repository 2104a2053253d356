"""Ladders whose first rungs are those of an interatomic potential: real campaigns, with jobs of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from materia.campaign import doctor, load_settings, run
from materia.campaign._database import CampaignDatabase
from materia.campaign._dataset import build_dataset
from materia.campaign._folder import open_campaign
from materia.campaign._labels import labels_from
from materia.compute import Ledger
from materia.crystal import Crystal, structure_hash
from materia.errors import CampaignError, ConfigError, EngineError
from materia.record import PickState
from materia.simulation import ROUGH, engine, level_hash
from materia.space import SpaceSettings, generate

LENNARD_JONES = {
    "calculator": "ase.calculators.lj:LennardJones",
    "arguments": {"sigma": 2.45, "epsilon": 0.5, "rc": 6.0},
}
CONTENT: dict[str, Any] = {
    "version": 1,
    "name": "rungs",
    "data": None,
    "space": {"elements": ["Mg", "S", "Se"], "exclude": [], "prototypes": ["rocksalt"], "arity": [2], "max_atoms": 2},
    "objectives": [{"quantity": "supply_risk", "goal": "minimize"}],
    "surrogate": None,
    "search": {"rounds": 1, "batch": 1, "acquisition": "random", "max_cost_s": None},
    "compute": {"cores": 1},
    "tracking": {"enabled": False},
}


def written(folder: Path, **ladder: Any) -> Path:
    file = folder / "rungs.yaml"
    file.write_text(yaml.safe_dump({**CONTENT, "ladder": {"potentials": {"lj": LENNARD_JONES}, **ladder}}))
    return file


def rung(recipe: str, level: str) -> dict[str, str]:
    return {"recipe": recipe, "level": level}


@pytest.fixture(scope="module")
def only_potentials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished campaign all of whose rungs are potentials; the last fails."""
    folder = tmp_path_factory.mktemp("rungs")
    broken = {"calculator": "ase.build:bulk", "arguments": {"nome": "Cu"}}
    rungs = ["relax", "distorts", rung("static", "broken")]
    file = written(folder, level="lj", potentials={"lj": LENNARD_JONES, "broken": broken}, recipes=rungs)
    run(file, folder / "run")
    return folder / "run"


def test_a_candidate_that_fails_keeps_the_labels_of_the_rungs_below(only_potentials: Path) -> None:
    database = CampaignDatabase(only_potentials / "campaign.sqlite")
    (row,) = database.picks()
    ledger = Ledger(database.connection)
    names = [job.spec.name for job in ledger.jobs()]
    database.close()
    assert row.pick.state is PickState.FAILED
    assert row.pick.reason.startswith("unsupported: ")
    assert names == [f"{row.pick.candidate_id}/{name}" for name in ("relax", "distorts", "static@broken")]
    labels = {label.quantity: label for label in row.pick.labels}
    # to this potential rock salt is simple cubic argon: it distorts
    assert labels["distortion_energy"].value > 0.005
    assert {"energy_per_atom_potential", "volume_per_atom_potential"} < set(labels)
    assert {(label.fidelity, label.level) for label in labels.values()} == {("potential", "lj")}
    assert not {"energy_per_atom", "volume_per_atom", "formation_energy_per_atom"} & set(labels), "no PBE"


def test_what_distorts_is_marked_and_its_child_can_be_a_candidate(only_potentials: Path) -> None:
    page = (only_potentials / "report" / "index.html").read_text()
    assert ">distorts</span>" in page
    (child,) = (only_potentials / "distorted").iterdir()
    another = {"exclude": [], "prototypes": [], "files": [str(child.parent)], "max_atoms": 64}
    pool = generate(SpaceSettings.model_validate(another))
    assert len(pool) == 1
    assert structure_hash(pool.crystal(0)) == structure_hash(Crystal.from_record(json.loads(child.read_text())))


def test_the_dataset_of_such_a_campaign_holds_its_jobs(only_potentials: Path) -> None:
    dataset = build_dataset([only_potentials], name="mine", card={"title": "rungs"})
    (entry,) = dataset
    assert [(job.recipe, job.status) for job in entry.jobs] == [
        ("relax", "completed"),
        ("distorts", "completed"),
        ("static", "failed"),
    ]
    assert "child" in entry.jobs[1].values


def test_a_campaign_keeps_to_its_potential(only_potentials: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from materia.simulation import _potentials

    monkeypatch.setattr(_potentials, "version", lambda name: "99.0")
    _potentials._installed.cache_clear()
    try:
        with pytest.raises(CampaignError, match="is no longer"), open_campaign(None, only_potentials):
            pass
        with pytest.raises(CampaignError, match="another version"):
            build_dataset([only_potentials], name="mine", card={})
    finally:
        monkeypatch.undo()
        _potentials._installed.cache_clear()


@pytest.mark.gpaw
def test_dft_starts_from_the_geometry_that_the_potential_left(tmp_path: Path) -> None:
    if not engine("gpaw").capabilities().available:
        pytest.skip("GPAW is not installed")
    file = written(tmp_path, level="rough", recipes=[rung("relax", "lj"), "static"])
    run(file, tmp_path / "run")
    database = CampaignDatabase(tmp_path / "run" / "campaign.sqlite")
    (row,) = database.picks()
    cheap, dear = Ledger(database.connection).jobs()
    meta = database.meta()
    database.close()
    assert row.pick.state is PickState.COMPUTED, row.pick.reason
    assert cheap.outcome is not None
    left = Crystal.from_record(dict(cheap.outcome.values["structure"]))
    assert structure_hash(Crystal.from_record(dict(dear.spec.payload["structure"]))) == structure_hash(left)
    assert [job.spec.name for job in (cheap, dear)] == [
        f"{row.pick.candidate_id}/relax@lj",
        f"{row.pick.candidate_id}/static",
    ]
    assert [job.spec.payload["level"]["engine"] for job in (cheap, dear)] == ["ase", "gpaw"]
    fidelities = {label.quantity: label.fidelity for label in row.pick.labels}
    assert fidelities["energy_per_atom"] == "PBE"
    assert fidelities["energy_per_atom_potential"] == "potential"
    assert row.pick.labels[0].fidelity == "PBE", "what is exported as the entry's level"
    assert set(meta["potentials"]) == {"lj"}
    assert meta["potentials"]["lj"]["potential"]["packages"]


# ------------------------------------------------------------------ what is refused, and when


@pytest.mark.parametrize(
    ("ladder", "words"),
    [
        ({"recipes": [rung("gap", "lj")]}, "no electrons"),
        ({"recipes": ["distorts"]}, "work for a potential"),
        ({"recipes": [rung("relax", "rough")]}, "only a potential has rungs"),
        ({"recipes": [rung("relax", "chgnett")]}, "there is no level 'chgnett'"),
        ({"recipes": [{"recipe": "relax", "levl": "lj"}]}, "unknown key 'ladder.recipes.0.levl'"),
        ({"recipes": ["relaxx"]}, "there is no such recipe"),
        ({"potentials": {"standard": LENNARD_JONES}}, "name of a level that materia has"),
        ({"potentials": {"mine": {"calculator": "os.system"}}}, "ladder.potentials.mine.calculator"),
    ],
)
def test_a_ladder_that_cannot_be_climbed_is_refused_on_reading(
    tmp_path: Path, ladder: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(written(tmp_path, **ladder))
    assert words in str(caught.value)
    assert "rungs.yaml" in str(caught.value)


def test_a_ladder_is_written_as_it_was_read(tmp_path: Path) -> None:
    rungs = [rung("relax", "lj"), rung("distorts", "lj"), "relax", "gap"]
    settings = load_settings(written(tmp_path, level="rough", recipes=rungs))
    assert settings.model_dump(mode="json")["ladder"]["recipes"] == rungs
    assert [(recipe, level.name) for recipe, level in settings.ladder.rungs] == [
        ("relax", "lj"),
        ("distorts", "lj"),
        ("relax", "rough"),
        ("gap", "rough"),
    ]


def test_weights_are_found_beside_the_campaign_file(tmp_path: Path) -> None:
    (tmp_path / "mine.pt").write_bytes(b"weights")
    mine = {**LENNARD_JONES, "weights": ["mine.pt"]}
    settings = load_settings(written(tmp_path, potentials={"mine": mine}, recipes=[rung("relax", "mine"), "gap"]))
    (_, level), _ = settings.ladder.rungs
    assert level.potential is not None
    assert str(tmp_path / "mine.pt") in level.potential.files


def test_a_package_that_is_not_there_is_told_before_anything_is_written(tmp_path: Path) -> None:
    absent = {"calculator": "no_such_potential:Net"}
    rungs = [rung("relax", "mine"), rung("static", "lj")]
    file = written(tmp_path, level="lj", potentials={"mine": absent, "lj": LENNARD_JONES}, recipes=rungs)
    with pytest.raises(EngineError) as caught, open_campaign(file, tmp_path / "run"):
        pass
    assert "'no_such_potential' of the potential 'mine' is not installed" in caught.value.what
    assert "pip install no_such_potential" in str(caught.value.remedy)
    assert not (tmp_path / "run").exists()
    finding = next(line for line in doctor(file=file) if line.name == "engine ase")
    assert (finding.ok, "no_such_potential" in finding.detail) == (False, True)


def test_an_element_that_a_potential_does_not_know_is_told_before_anything_is_written(tmp_path: Path) -> None:
    file = written(tmp_path, level="lj", recipes=[rung("relax", "emt"), "static"])
    with pytest.raises(EngineError, match="'emt' does not know Mg, S, Se"), open_campaign(file, tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()


@pytest.mark.gpaw
def test_hse06_without_libxc_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not engine("gpaw").capabilities().available:
        pytest.skip("GPAW is not installed")
    monkeypatch.setattr("materia.simulation.engines.gpaw._libraries", lambda: {"libxc": "", "mpi": ""})
    file = written(tmp_path, level="rough", recipes=["relax", "spin_orbit", "hybrid"])
    with pytest.raises(EngineError) as caught, open_campaign(file, tmp_path / "run"):
        pass
    assert caught.value.what == "gpaw has no HSE06 here, and the recipe 'hybrid' needs it"
    assert "libxc" in str(caught.value.remedy)
    assert not (tmp_path / "run").exists()
    findings = {line.name: line for line in doctor(file=file)}
    assert findings["recipe hybrid"].ok is False
    assert "make gpaw" in findings["recipe hybrid"].remedy
    assert "recipe spin_orbit" not in findings
    assert findings["gpaw: hybrid"].ok is None


@pytest.mark.gpaw
def test_an_element_without_a_gllbsc_set_is_told_before_anything_is_written(tmp_path: Path) -> None:
    """gpaw-data has lanthanum for PBE alone."""
    if not engine("gpaw").capabilities().features.get("libxc"):
        pytest.skip("GPAW was built without libxc")
    content = yaml.safe_load(written(tmp_path, level="rough", recipes=["gap", "gllbsc"]).read_text())
    content["space"]["elements"] = ["La", "N"]
    (tmp_path / "rungs.yaml").write_text(yaml.safe_dump(content))
    with (
        pytest.raises(EngineError, match="no GLLBSC PAW dataset for La"),
        open_campaign(tmp_path / "rungs.yaml", tmp_path / "run"),
    ):
        pass
    assert not (tmp_path / "run").exists()


def test_labels_beyond_pbe_carry_their_own_fidelity() -> None:
    silicon = Crystal.from_species([[0, 2.7, 2.7], [2.7, 0, 2.7], [2.7, 2.7, 0]], ["Si", "Si"], [[0] * 3, [0.25] * 3])
    values = {
        "gap_pbe": 0.6,
        "gap_hse06_on_pbe": 1.2,
        "gap_hse06_soc_on_pbe": 1.18,
        "gap_pbe_soc": 0.58,
        "electron_mass_edge": 0.26,
    }
    labels = {label.quantity: label for label in labels_from(silicon, [(ROUGH, "key", values)], None)}
    assert {name: label.fidelity for name, label in labels.items()} == {
        "gap_pbe": "PBE",
        "gap_hse06_on_pbe": "HSE06@PBE",
        "gap_hse06_soc_on_pbe": "HSE06@PBE+SOC",
        "gap_pbe_soc": "PBE+SOC",
        "electron_mass_edge": "PBE+SOC",
    }
    assert {label.level_hash for label in labels.values()} == {level_hash(ROUGH)}
