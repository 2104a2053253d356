"""Competing phases on top of the ladder: which are computed, what they say of a candidate, and when it is validated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from instant_campaign import CONTENT, Instant, instant, killed, put_result
from materia.campaign import load_settings, run, veto
from materia.campaign._database import CampaignDatabase
from materia.campaign._dataset import build_dataset
from materia.campaign._phases import of_system, to_compute
from materia.campaign._rungs import CompetingSettings
from materia.crystal import Crystal
from materia.errors import EngineError, SpaceError
from materia.record import Candidate, OverrideState, PickState
from materia.simulation import STANDARD, engine
from materia.space import Pool, build_prototype, generate
from materia.stability import Hull, HullEntry, References
from tiny_campaign import essence

LADDER: dict[str, Any] = {
    "level": "standard",
    "recipes": ["relax", "gap"],
    "competing": {"prototypes": ["wurtzite"], "max_atoms": 4},
}


def per_atom(formula_or_id: str, formation: float) -> float:
    """Total energy (eV/atom) of a binary 1:1 compound with this formation energy."""
    elements = build_prototype("rocksalt", _symbols(formula_or_id)).elements
    references = References.default()
    return formation + sum(references.energy_per_atom(s) for s in elements) / 2


def _symbols(name: str) -> list[str]:
    formula = name.split("-")[0]
    cut = next(i for i, c in enumerate(formula) if i > 0 and c.isupper())
    return [formula[:cut], formula[cut:]]


def campaign(
    folder: Path, *, wurtzite: Callable[[str], float | None] = lambda formula: -0.4, **changes: Any
) -> Instant:
    """Candidates in zincblende and rocksalt at -0.5 eV/atom each; their wurtzites as given, failed where None."""
    ladder = {**LADDER, **changes.pop("ladder", {})}
    made = instant(folder, energy=lambda name: per_atom(name, -0.5), **{"data": None, "ladder": ladder, **changes})
    for formula in sorted({c.formula for c in generate(load_settings(made.file).space).candidates}):
        level, crystal, formation = "standard", build_prototype("wurtzite", _order(formula)), wurtzite(formula)
        if formation is None:
            put_result(folder / "store", "relax", crystal, level, {}, reason="not_converged")
        else:
            values = {"energy_per_atom": per_atom(formula, formation), "prototype_kept": True}
            put_result(folder / "store", "relax", crystal, level, values)
    return made


def _order(formula: str) -> list[str]:
    """Cation first, as the generator places them."""
    (found,) = {c.id: c for c in of_system(_only("wurtzite"), _symbols(formula), None)}.values()
    return list(found.origin["species"])


def _swollen(crystal: Crystal) -> Crystal:
    return crystal.scaled_to_volume(1.1 * crystal.volume)


def _only(*prototypes: str) -> CompetingSettings:
    return CompetingSettings(prototypes=prototypes, max_atoms=4)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Instant:
    """Every wurtzite lies 0.1 eV/atom above the candidates."""
    made = campaign(tmp_path_factory.mktemp("competing"))
    made.finish()
    return made


def test_what_meets_every_condition_is_validated_and_nothing_else(finished: Instant) -> None:
    rows = [row for row in finished.record.ranking if row["status"] == "computed"]
    assert {row["hit"] for row in rows} == {True, False}, "both kinds are there to be told apart"
    seen = set()
    for row in sorted(rows, key=lambda row: row["round"]):
        assert (row["validation"] is not None) is row["hit"]
        if row["hit"]:
            assert row["validation"]["validated"] and row["validation"]["because"] == ""
            if row["formula"] in seen:  # its polymorph met the conditions in an earlier round
                assert row["validation"]["phases"] == []
                continue
            seen.add(row["formula"])
            (phase,) = row["validation"]["phases"]
            assert phase["name"] == f"{row['formula']}-wurtzite"
            if sum(r["formula"] == row["formula"] for r in rows) == 1:
                assert row["validation"]["rivals"] == pytest.approx({phase["name"]: 1.0})
            assert phase["formation_energy"] == pytest.approx(-0.4)
            assert phase["above_hull"] == pytest.approx(0.1)


def test_a_hit_is_held_against_its_phases(finished: Instant) -> None:
    """-0.5 against -0.4 eV/atom at the same composition, or against the other polymorph where that was picked too."""
    rows = finished.record.ranking
    for row in rows:
        if row["hit"] and row["status"] == "computed":
            others = [r for r in rows if r["formula"] == row["formula"] and r["status"] == "computed"]
            twin = len(others) > 1
            assert row["values"]["energy_above_hull"] == pytest.approx(0.0 if twin else -0.1)


def test_the_page_and_the_table_say_who_is_validated(finished: Instant) -> None:
    page = (finished.folder / "report" / "index.html").read_text()
    hits = [row for row in finished.record.ranking if row["hit"] and row["status"] == "computed"]
    assert page.count('<span class="pill validated">validated</span>') == 2 * len(hits), (
        "table, and the phases' section"
    )
    assert "Computed and validated." in page
    assert page.count('<span class="proto">wurtzite</span>') == len({row["formula"] for row in hits})


def test_the_tracking_record_counts_them(finished: Instant) -> None:
    from materia.tracking._runs import campaign_run

    run = campaign_run(finished.record)
    validated = [row for row in finished.record.ranking if row["validation"] and row["validation"]["validated"]]
    counts = [value for name, value, _ in run.metrics if name == "validated"]
    assert counts[-1] == len(validated) > 0 and counts == sorted(counts)
    assert f"**{len(validated)} validated**" in run.tags["mlflow.note.content"]


def test_a_dataset_holds_the_phases_too(finished: Instant) -> None:
    dataset = build_dataset([finished.folder], name="mine", card={})
    hits = {row["formula"] for row in finished.record.ranking if row["hit"] and row["status"] == "computed"}
    phases = [entry for entry in dataset if entry.prototype == "wurtzite"]
    assert {entry.formula for entry in phases} == hits
    for entry in phases:
        labels = {label.quantity: label.value for label in entry.labels}
        assert labels["formation_energy_per_atom"] == pytest.approx(-0.4)
        assert [job.recipe for job in entry.jobs] == ["relax"]


def test_a_phase_below_takes_the_hit_away(tmp_path: Path) -> None:
    """Without its phases a candidate seems stable; 0.1 eV/atom below it lies a wurtzite."""
    same: dict[str, Any] = {
        "wurtzite": lambda formula: -0.6,
        "constraints": [{"quantity": "energy_above_hull", "below": 0.05}],
        "surrogate": None,
        "search": {"acquisition": "random"},
    }
    free = campaign(tmp_path / "free", ladder={"competing": None}, **same)
    held = campaign(tmp_path / "held", **same)
    free.finish()
    held.finish()
    before = {row["candidate_id"] for row in free.record.ranking if row["hit"] and row["status"] == "computed"}
    assert before
    for row in held.record.ranking:
        if row["validation"] is not None:
            assert row["validation"]["validated"], "its phases are known: that is what the word says"
            assert row["values"]["energy_above_hull"] == pytest.approx(0.1)
            assert not row["hit"]
    assert any(row["validation"] is not None for row in held.record.ranking)
    assert not any(row["hit"] for row in held.record.ranking if row["status"] == "computed")


def test_a_phase_that_failed_leaves_it_computed(tmp_path: Path) -> None:
    made = campaign(tmp_path, wurtzite=lambda formula: None)
    made.finish()
    said = [row["validation"] for row in made.record.ranking if row["validation"] is not None]
    assert said
    for validation in said:
        assert not validation["validated"]
        assert validation["because"].startswith("not known at this level: ")
        assert [phase["state"] for phase in validation["phases"]] == ["not_converged"]
        assert validation["phases"][0]["above_hull"] is None


def test_a_driver_that_is_started_anew_for_every_step_ends_the_same(tmp_path: Path, finished: Instant) -> None:
    made = campaign(tmp_path)
    for _ in range(120):
        if "finished" in made.steps(1)[0].message:
            break
    assert essence(made.record) == essence(finished.record)
    assert made.record.ranking == finished.record.ranking


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_driver_killed_anywhere_validates_the_same(tmp_path: Path) -> None:
    small: dict[str, Any] = {
        "space": {"elements": ["Mg", "Zn", "S", "Se"]},
        "objectives": [{"quantity": "supply_risk", "goal": "minimize"}],
        "search": {"rounds": 2, "batch": 2},
    }
    made = campaign(tmp_path / "campaign", **small)
    made.steps(1)
    copy = tmp_path / "undisturbed"
    shutil.copytree(made.folder, copy)
    undisturbed = Instant(made.file, copy, made.gaps).finish()
    kills = killed(4, "validate", made.folder)
    assert kills > 10
    assert essence(made.record) == essence(undisturbed)
    assert made.record.ranking == undisturbed.ranking
    assert all(row["validation"]["validated"] for row in made.record.ranking if row["status"] == "computed")
    assert {job.attempts for job in made.record.jobs} == {0}, "nothing was started that the store has"


def test_each_phase_is_one_job_whoever_it_competes_with(tmp_path: Path) -> None:
    """Zincblende and rocksalt of one formula have the same wurtzite."""
    made = campaign(
        tmp_path,
        objectives=[{"quantity": "supply_risk", "goal": "minimize"}],
        search={"batch": 8, "rounds": 1},
        space={"elements": ["Mg", "Zn", "S", "Se"]},
    )
    made.finish()
    names = [job.name for job in made.record.jobs if job.name.endswith("/competing")]
    database = CampaignDatabase(made.folder / "campaign.sqlite")
    held = database.phases()
    database.close()
    assert len(held) == sum(row["status"] == "computed" for row in made.record.ranking), "no condition: all are"
    keys = {phase["key"] for _, _, phases in held for phase in phases}
    assert len(names) == len(keys) < len(held)
    assert {job.attempts for job in made.record.jobs} == {0}, "nothing was started that the store has"


def test_a_veto_comes_too_late_once_its_own_calculations_have_ended(tmp_path: Path) -> None:
    made = campaign(tmp_path)
    reached = ""
    for _ in range(60):
        made.steps(1)
        database = CampaignDatabase(made.folder / "campaign.sqlite")
        waiting = [row.pick for row in database.picks() if row.rung == 2 and row.pick.state is PickState.PENDING]
        database.close()
        if waiting:
            reached = waiting[0].candidate_id
            break
    veto(made.folder, reached, why="too late")
    made.finish()
    (override,) = made.record.overrides
    assert override.state is OverrideState.VOID and "had ended" in override.note
    (row,) = [row for row in made.record.ranking if row["candidate_id"] == reached]
    assert row["validation"]["validated"]


def test_phases_from_files_are_kept_with_the_campaign(tmp_path: Path) -> None:
    """Caesium chloride MgS from a file, which is gone when the phases are needed; one of other elements is left out."""
    file = tmp_path / "known.jsonl"
    known = {
        "mine": build_prototype("cesium-chloride", ["Mg", "S"]),
        "other": build_prototype("cesium-chloride", ["Sr", "S"]),
    }
    rows = [{"id": k, "prototype": "cesium-chloride", "structure": c.to_record()} for k, c in known.items()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ladder = {"competing": {"prototypes": [], "files": [str(file)]}}
    space = {"elements": ["Mg", "S"], "prototypes": ["rocksalt"]}
    made = campaign(
        tmp_path / "run",
        ladder=ladder,
        space=space,
        search={"batch": 1, "rounds": 1},
        objectives=[{"quantity": "supply_risk", "goal": "minimize"}],
    )
    put_result(
        tmp_path / "run" / "store", "relax", known["mine"], "standard", {"energy_per_atom": per_atom("MgS", -0.8)}
    )
    made.steps(1)
    file.unlink()
    made.finish()
    (row,) = [row for row in made.record.ranking if row["status"] == "computed"]
    assert [phase["name"] for phase in row["validation"]["phases"]] == ["mine"]
    assert row["values"]["energy_above_hull"] == pytest.approx(0.3)


def test_files_without_a_phase_of_these_elements_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    file.write_text(json.dumps(build_prototype("rocksalt", ["Sr", "O"]).to_record()))
    made = campaign(tmp_path / "run", ladder={"competing": {"files": [str(file)]}})
    with pytest.raises(SpaceError, match="none of the 1 phases"):
        made.steps(1)
    assert not made.folder.joinpath("campaign.yaml").exists()


# --- which phases ----------------------------------------------------------------------------------------------


def test_a_system_has_its_compounds_in_every_prototype() -> None:
    found = of_system(CompetingSettings(max_atoms=8), ["Li", "Zn", "P"], None)
    assert {c.formula for c in found} >= {"Li3P", "Zn3P2", "LiZnP"}
    assert all(len(c.crystal.elements) > 1 and set(c.crystal.elements) <= {"Li", "Zn", "P"} for c in found)


def test_a_known_phase_takes_the_place_of_the_generated_one() -> None:
    strained = build_prototype("wurtzite", ["Zn", "S"])
    known = Pool.freeze([Candidate("measured", _swollen(strained), "wurtzite")])
    names = [c.id for c in of_system(_only("wurtzite", "rocksalt"), ["Zn", "S"], known)]
    assert names[0] == "measured" and len(names) == 2 and names[1].endswith("-rocksalt")


def test_unlikely_phases_and_known_ones_are_not_computed() -> None:
    """Hull at -0.5: means of -0.5 and -0.2 with 0.1 have chances of 50 % and 0.13 % to lie below it."""
    found = of_system(_only("wurtzite", "rocksalt"), ["Zn", "S"], None)
    hull = Hull([HullEntry("known", {"Zn": 1, "S": 1}, -0.5)])
    mean = np.array([-0.5 if c.prototype == "wurtzite" else -0.2 for c in found])
    predicted = (mean, np.full(len(found), 0.1))

    def chosen(least: float, *unlike: Any) -> dict[str, float | None]:
        phases = to_compute(found, STANDARD, unlike=unlike, least=least, predicted=predicted, hull=hull)
        return {phase.prototype: phase.chance for phase in phases}

    assert chosen(0.05) == {"wurtzite": pytest.approx(0.5)}
    assert chosen(0.0) == {"wurtzite": pytest.approx(0.5), "rocksalt": pytest.approx(0.00135, rel=0.01)}
    assert chosen(0.0, _swollen(build_prototype("wurtzite", ["Zn", "S"]))) == {
        "rocksalt": pytest.approx(0.00135, rel=0.01)
    }
    without = to_compute(found, STANDARD, unlike=(), least=0.9, predicted=None, hull=hull)
    assert {phase.chance for phase in without} == {None} and len(without) == 2


# --- what is refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ladder", "said"),
    [
        ({"recipes": ["static"]}, "no rung relaxes the candidate"),
        ({"competing": {"prototypes": []}}, "neither prototypes nor files"),
        ({"competing": {"prototypes": ["wurzite"]}}, "wurtzite"),
        ({"competing": {"leest": 0.1}}, "leest"),
        ({"level": "chgnet", "recipes": ["relax"]}, "is a potential"),
    ],
)
def test_ladders_that_cannot_compare(tmp_path: Path, ladder: dict[str, Any], said: str) -> None:
    file = tmp_path / "campaign.yaml"
    objectives = [{"quantity": "supply_risk", "goal": "minimize"}]
    file.write_text(yaml.safe_dump({**CONTENT, "objectives": objectives, "ladder": {**LADDER, **ladder}}))
    with pytest.raises(Exception, match=said):  # an unknown prototype is the space's error, the others the file's
        load_settings(file)


def test_a_level_without_references_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    made = campaign(tmp_path, ladder={"level": "rough"})
    with pytest.raises(EngineError, match="no reference energies at level 'rough'"):
        made.steps(1)
    assert not (made.folder / "campaign.sqlite").exists()


@pytest.mark.slow
@pytest.mark.gpaw
def test_boron_nitride_against_rock_salt(tmp_path: Path) -> None:
    """By GPAW: zincblende BN lies far below its rock salt (by 1.7 eV/atom or so in PBE), and is validated."""
    if not engine("gpaw").capabilities().available:
        pytest.skip("GPAW is not installed")
    content = {
        "version": 1,
        "name": "bn",
        "data": None,
        "space": {"elements": ["B", "N"], "exclude": [], "prototypes": ["zincblende"], "arity": [2]},
        "objectives": [{"quantity": "formation_energy_per_atom", "goal": "minimize"}],
        "constraints": [{"quantity": "energy_above_hull", "below": 0.1}],
        "surrogate": None,
        "search": {"rounds": 1, "batch": 1, "acquisition": "random", "max_cost_s": None},
        "ladder": {"recipes": ["relax"], "competing": {"prototypes": ["zincblende", "rocksalt"]}},
        "compute": {"cores": 1},
        "tracking": {"enabled": False},
    }
    file = tmp_path / "bn.yaml"
    file.write_text(yaml.safe_dump(content))
    record = run(file, tmp_path / "run")
    (row,) = record.ranking
    (phase,) = row["validation"]["phases"]
    assert row["hit"] and row["validation"]["validated"]
    assert phase["name"] == "BN-rocksalt" and 1.2 < phase["above_hull"] < 2.2
    assert row["values"]["energy_above_hull"] < -0.5, "below the elements: no other phase is known"
