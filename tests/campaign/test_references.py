"""Elemental references at a level of one's own: computed once, kept in a file, and what campaigns make of them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from espresso_pseudos import CHOSEN, EXAMPLES, copy_chosen, use
from instant_campaign import put_result
from materia import quantities as q
from materia.campaign import build_dataset, compute_references, load_settings, run
from materia.campaign._folder import open_campaign
from materia.campaign._gate import plan_digest
from materia.data import Dataset
from materia.errors import ConfigError, EngineError
from materia.record import PickState
from materia.simulation import ROUGH, engine, level_hash
from materia.stability import References

pytestmark = pytest.mark.gpaw


@pytest.fixture(autouse=True)
def _gpaw() -> None:
    if not engine("gpaw").capabilities().available:
        pytest.skip("GPAW is not installed")


def written(folder: Path, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "version": 1,
        "name": "own",
        "data": None,
        "space": {"elements": ["Si", "Ge"], "exclude": [], "prototypes": ["zincblende"], "arity": [2]},
        "objectives": [{"quantity": "formation_energy_per_atom", "goal": "minimize"}],
        "constraints": [{"quantity": "energy_above_hull", "below": 0.1}],
        "surrogate": None,
        "search": {"rounds": 1, "batch": 1, "acquisition": "random", "exploration": 0},
        "ladder": {"level": "rough", "recipes": ["relax"], "references": "elements.json"},
        "compute": {"cores": 1},
        "tracking": {"enabled": False},
    }
    for section, values in changes.items():
        content[section] = {**content[section], **values} if isinstance(values, Mapping) else values
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "own.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a campaign file, its references and their jobs."""
    if not engine("gpaw").capabilities().available:
        pytest.skip("GPAW is not installed")
    folder = tmp_path_factory.mktemp("references")
    told: list[str] = []
    file = written(folder)
    done = compute_references(file, folder / "jobs", on_job=lambda element, outcome: told.append(element))
    assert sorted(told) == sorted(done.new) == ["Ge", "Si"]
    assert not done.failed and not done.without
    return folder


def test_the_file_says_how_each_was_computed(computed: Path) -> None:
    found = References.load(computed / "elements.json")
    shipped = References.default()
    assert found.level_hash == level_hash(ROUGH)
    assert found.pseudopotentials == engine("gpaw").pseudopotentials(["Ge", "Si"], ROUGH)
    for element, row in found.elements.items():
        like = shipped.elements[element]
        assert (row.phase, row.recipe) == (like.phase, like.recipe)
        assert row.crystal is not None and like.crystal is not None
        assert row.crystal.volume == pytest.approx(like.crystal.volume, rel=0.1)
        assert row.energy_per_atom == pytest.approx(like.energy_per_atom, abs=0.5)
        assert row.cpu_s > 0 and "gpaw" in row.versions


def test_the_second_call_computes_nothing(computed: Path) -> None:
    before = (computed / "elements.json").read_bytes()
    again = compute_references(computed / "own.yaml", computed / "elsewhere")
    assert again.new == () and not (computed / "elsewhere").exists()
    assert (computed / "elements.json").read_bytes() == before


def test_a_campaign_counts_from_them_and_keeps_them(computed: Path, tmp_path: Path) -> None:
    file = written(tmp_path)
    (tmp_path / "elements.json").write_bytes((computed / "elements.json").read_bytes())
    record = run(file, tmp_path / "run")
    (pick,) = record.rounds[0].picks
    assert pick.state is PickState.COMPUTED
    values = {label.quantity: label.value for label in pick.labels}
    rows = References.load(tmp_path / "elements.json").elements
    by_hand = values[q.ENERGY] - (rows["Si"].energy_per_atom + rows["Ge"].energy_per_atom) / 2
    assert values[q.FORMATION_ENERGY] == pytest.approx(by_hand, abs=1e-9)
    assert 0 < by_hand < 0.1  # eV/atom: Si and Ge mix almost without heat; 0.032 at level standard
    (row,) = (row for row in record.ranking if row["status"] == "computed")
    assert row["values"][q.ENERGY_ABOVE_HULL] == pytest.approx(by_hand)
    (tmp_path / "elements.json").unlink()  # the campaign has its own copy
    with open_campaign(None, tmp_path / "run") as campaign:
        assert campaign.references is not None
        assert set(campaign.references.elements) == {"Si", "Ge"}
    made = build_dataset([tmp_path / "run"], name="own", card={})
    assert made.entries[0].values()[q.FORMATION_ENERGY] == pytest.approx(by_hand)
    # a dataset at that level goes on with the energies it has: none ship to form them anew
    made.save(tmp_path / "dataset")
    again = build_dataset([tmp_path / "dataset"], name="own", card={})
    assert again.entries[0].values() == made.entries[0].values()


def test_elements_are_added_to_a_file(computed: Path, tmp_path: Path) -> None:
    """By a campaign in another space; what another campaign computed is taken over, what failed is said."""
    (tmp_path / "elements.json").write_bytes((computed / "elements.json").read_bytes())
    shipped = References.default().elements
    assert shipped["Al"].crystal is not None and shipped["P"].crystal is not None
    put_result(tmp_path / "store", "relax", shipped["Al"].crystal, "rough", {"energy_per_atom": -3.5})
    put_result(tmp_path / "store", "static", shipped["P"].crystal, "rough", {}, reason="not_converged")
    space = {"elements": ["Al", "P", "Lu", "Si"], "prototypes": ["rocksalt", "zincblende"]}
    file = written(tmp_path, space=space, compute={"stores": ["store"]})
    done = compute_references(file, tmp_path / "jobs")
    assert done.new == ("Al",) and done.without == ("Lu",)
    assert done.failed == {"P": "not_converged"}
    assert set(References.load(tmp_path / "elements.json").elements) == {"Al", "Ge", "Si"}
    assert done.references.energy_per_atom("Al") == -3.5
    assert done.references.pseudopotentials.keys() == {"Al", "Ge", "Si"}
    argv = [sys.executable, "-m", "materia", "references", str(file), "--folder", str(tmp_path / "jobs")]
    told = subprocess.run([*argv, "--json"], capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert json.loads(told.stdout)["failed"] == {"P": "not_converged"}


def test_killed_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """SIGKILL after the first element: nothing is computed twice."""
    file = written(tmp_path)
    argv = [sys.executable, "-m", "materia", "references", str(file), "--folder", str(tmp_path / "jobs")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline().split()[0]
        process.send_signal(signal.SIGKILL)
    assert set(References.load(tmp_path / "elements.json").elements) == {first}
    done = compute_references(file, tmp_path / "jobs")
    assert len(done.new) == 1 and set(done.references.elements) == {"Si", "Ge"}
    attempts = [sorted(p.name for p in folder.iterdir()) for folder in (tmp_path / "jobs" / "jobs").iterdir()]
    assert attempts == [["1"], ["1"]]


def test_pseudopotentials_that_changed_ask_for_new_ones(
    computed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path)
    found = References.load(computed / "elements.json")
    spoilt = References(found.level, found.level_hash, found.elements, {**found.pseudopotentials, "Si": "0123456789ab"})
    spoilt.save(tmp_path / "elements.json")
    with (
        pytest.raises(EngineError, match=r"references were computed with other pseudopotentials .*: Si"),
        open_campaign(file, tmp_path / "run"),
    ):
        pass
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("ladder", "said"),
    [
        ({"references": None}, "references: references-rough.json"),
        ({"level": "standard"}, "ship with materia"),
        ({"level": "emt"}, "is a potential"),
        ({}, "holds references at level 'standard'"),  # by another campaign at the same place
    ],
)
def test_what_cannot_be_computed_is_said(tmp_path: Path, ladder: dict[str, Any], said: str) -> None:
    objectives = [{"quantity": "supply_risk", "goal": "minimize"}]
    file = written(tmp_path, ladder=ladder, objectives=objectives, constraints=[])
    References.default().save(tmp_path / "elements.json")
    with pytest.raises(ConfigError, match=said):
        compute_references(file, tmp_path / "jobs")
    assert not (tmp_path / "jobs").exists()


def test_a_campaign_without_its_file_or_with_another_levels_is_refused(computed: Path, tmp_path: Path) -> None:
    file = written(tmp_path)
    with pytest.raises(ConfigError, match="materia references"), open_campaign(file, tmp_path / "run"):
        pass
    References.default().save(tmp_path / "elements.json")
    with (
        pytest.raises(ConfigError, match=r"level 'standard'.*computes at 'rough'"),
        open_campaign(file, tmp_path / "run"),
    ):
        pass
    bare = written(tmp_path, ladder={"references": None})
    with pytest.raises(EngineError, match="energy_above_hull, formation_energy_per_atom is counted from the elements"):
        run(bare, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_plan_is_about_their_energies_and_not_about_their_place(computed: Path, tmp_path: Path) -> None:
    found = References.load(computed / "elements.json")
    here, there, other = (written(tmp_path / name) for name in ("here", "there", "other"))
    for file in (here, there):
        found.save(file.parent / "elements.json")
    References(found.level, found.level_hash, {"Si": found.elements["Si"]}, {}).save(other.parent / "elements.json")
    digests = [plan_digest(load_settings(file), Dataset.empty()) for file in (here, there, other)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.espresso
@pytest.mark.slow
def test_oxides_by_quantum_espresso(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elements by pw.x, the triplet of O2 among them: silicon dioxide has a heat of formation."""
    if not engine("espresso").capabilities().version or not all((EXAMPLES / name).is_file() for name in CHOSEN):
        pytest.skip("no pw.x, or no example pseudopotentials (apt-get install quantum-espresso quantum-espresso-data)")
    use(monkeypatch, copy_chosen(tmp_path / "pseudo"))
    space = {"elements": ["Si", "O"], "prototypes": ["fluorite"], "max_atoms": 3}
    file = written(tmp_path, space=space, ladder={"level": "espresso-rough"}, constraints=[])
    done = compute_references(file, tmp_path / "jobs")
    assert set(done.new) == {"O", "Si"} and not done.failed
    (pick,) = run(file, tmp_path / "run").rounds[0].picks
    values = {label.quantity: label.value for label in pick.labels}
    assert -4.0 < values[q.FORMATION_ENERGY] < -0.5  # quartz: -3.1 eV/atom measured; fluorite lies far above it
