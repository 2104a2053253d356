"""Picks that go on with what they distort into: jobs, labels, datasets and ranking are then those of the child."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import materia
from instant_campaign import CONTENT
from materia.campaign import load_settings, run
from materia.campaign._database import CampaignDatabase, PickRow
from materia.campaign._dataset import build_dataset
from materia.campaign._ladder import walk
from materia.campaign._learning import _examples
from materia.campaign._loop import open_driver
from materia.cli._app import app
from materia.compute import Ledger
from materia.crystal import Crystal, structure_hash
from materia.errors import CampaignError, ConfigError
from materia.record import JobSpec, Outcome, OutcomeKind, PickState
from materia.simulation import engine, level, make_job
from materia.space import Pool, generate
from materia.stability import References

LENNARD_JONES = {
    "calculator": "ase.calculators.lj:LennardJones",
    "arguments": {"sigma": 2.45, "epsilon": 0.5, "rc": 6.0},
}
AT_RANDOM = {"rounds": 1, "batch": 1, "acquisition": "random", "exploration": 0.0, "max_cost_s": None}
SALT = {"elements": ["Mg", "S"], "exclude": [], "prototypes": ["rocksalt"], "arity": [2], "max_atoms": 2}


def written(folder: Path, recipes: list[Any], **changes: Any) -> Path:
    content = {
        **CONTENT,
        "data": None,
        "space": SALT,
        "objectives": [{"quantity": "supply_risk", "goal": "minimize"}],
        "surrogate": None,
        "search": AT_RANDOM,
        "ladder": {"level": "lj", "potentials": {"lj": LENNARD_JONES}, "recipes": recipes},
        "compute": {"cores": 1},
    }
    for section, values in changes.items():
        content[section] = {**content[section], **values} if isinstance(values, dict) else values
    file = folder / "child.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def distorts(**more: str) -> dict[str, str]:
    return {"recipe": "distorts", **more}


def read(folder: Path) -> tuple[list[PickRow], dict[str, JobSpec], dict[str, Outcome]]:
    """Picks, and of each job by its name what was computed and what came of it."""
    database = CampaignDatabase(folder / "campaign.sqlite")
    try:
        jobs = Ledger(database.connection).jobs()
        ended = {job.spec.name.partition("/")[2]: job.outcome for job in jobs if job.outcome is not None}
        return database.picks(), {job.spec.name.partition("/")[2]: job.spec for job in jobs}, ended
    finally:
        database.close()


def on(spec: JobSpec) -> Crystal:
    return Crystal.from_record(dict(spec.payload["structure"]))


@pytest.fixture(scope="module", params=["follows", "stays"])
def computed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A real campaign of potentials alone. To this one rock salt is simple cubic argon: it distorts."""
    folder = tmp_path_factory.mktemp(request.param)
    run(written(folder, ["relax", distorts(child=request.param), "static"]), folder / "run")
    return request.param, folder / "run"


def test_the_rung_after_is_computed_on_the_child_or_on_the_parent(computed: tuple[str, Path]) -> None:
    child, folder = computed
    (row,), specs, ended = read(folder)
    assert row.pick.state is PickState.COMPUTED, row.pick.reason
    fell = Crystal.from_record(dict(ended["distorts"].values["child"]))
    parent = Crystal.from_record(dict(ended["relax"].values["structure"]))
    assert structure_hash(fell) != structure_hash(parent)
    wanted = {"follows": fell, "stays": parent}[child]
    assert structure_hash(on(specs["static"])) == structure_hash(row.structure) == structure_hash(wanted)
    labels = {label.quantity: label for label in row.pick.labels}
    energy = labels["energy_per_atom_potential"]
    assert energy.source == specs["static"].key
    at = {
        "follows": ended["distorts"].values["child_energy_per_atom"],
        "stays": ended["relax"].values["energy_per_atom"],
    }
    assert energy.value == pytest.approx(at[child], abs=1e-6)
    assert at["follows"] < at["stays"] - 0.005
    assert labels["distortion_energy"].source == specs["distorts"].key


def test_ranking_results_dataset_and_words_are_of_the_same_structure(computed: tuple[str, Path]) -> None:
    child, folder = computed
    (row,), _, ended = read(folder)
    (ranked,) = json.loads((folder / "ranking.json").read_text())
    found = ended["distorts"].values
    (step,) = ranked["distortions"]
    assert step == {
        "parent_prototype": found["parent_prototype"],
        "child_prototype": found["child_prototype"],
        "energy": found["distortion_energy"],
        "child_relaxed": True,
        "followed": child == "follows",
    }
    assert ranked["structure"] == row.structure.to_record()
    (entry,) = build_dataset([folder], name="mine", card={})
    assert [job.recipe for job in entry.jobs] == ["relax", "distorts", "static"]
    assert structure_hash(entry.structure) == structure_hash(row.structure)
    assert entry.labels == row.pick.labels
    held = Pool.load(folder / "pool").crystal(row.pick.candidate_index)
    assert structure_hash(entry.initial) == structure_hash(held), "what the pool holds is what is learned from"
    from ase.db import connect

    (atoms,) = [one.toatoms() for one in connect(folder / "results.db").select()]
    assert structure_hash(Crystal.from_ase(atoms)) == structure_hash(row.structure)
    page = (folder / "report" / "index.html").read_text()
    assert {"follows": ">distorted</span>", "stays": ">distorts</span>"}[child] in page
    fell = f"{found['parent_prototype']} → {found['child_prototype']}"
    assert (fell in page) == (child == "follows")
    told = CliRunner().invoke(app, ["trace", str(folder), row.pick.candidate_id]).stdout
    assert f"{found['parent_prototype']} into {found['child_prototype']}" in " ".join(told.split())
    assert materia.trace(folder, row.pick.candidate_id)["distortions"] == [step]


# ------------------------------------------------------------------ with DFT above, whose answers are there already


def doubled(crystal: Crystal) -> Crystal:
    """A distortion that takes eight cells."""
    atoms = crystal.to_ase().repeat(2)
    atoms.rattle(0.05, seed=1)
    return Crystal.from_ase(atoms)


def answered(folder: Path, recipes: list[Any], energy: float, gap: float | None, **search: Any) -> Path:
    """A campaign whose candidates all distort into eight times their cell; DFT's answers lie in a store.

    Args:
        gap: of the child; None: that calculation fails.
    """
    if not engine("gpaw").capabilities().available:
        pytest.skip("GPAW is not installed")
    space = {"elements": ["Mg", "Ca", "S", "Se"], "prototypes": ["cesium-chloride"]}  # not in the dataset
    conditions = [{"quantity": "energy_above_hull", "goal": "minimize"}, {"quantity": "gap_pbe", "window": [1, 2]}]
    file = written(
        folder,
        recipes,
        data="shipped",
        space=space,
        objectives=conditions,
        ladder={"level": "standard"},
        search=search,
        compute={"stores": [str(folder / "store")]},
    )
    ladder = load_settings(file).ladder
    for parent in map(generate(load_settings(file).space).crystal, range(4)):
        child = doubled(parent)
        fallen = {
            "distorts": True,
            "distortion_energy": 0.02,
            "child": child.to_record(),
            "child_relaxed": False,
            "parent_prototype": "parent",
            "child_prototype": "child",
        }
        relaxed = child.scaled_to_volume(0.95 * child.volume)
        of_child = {"energy_per_atom": energy, "volume_per_atom": relaxed.volume / 16, "structure": relaxed.to_record()}
        keep(folder, make_job("distorts", parent, ladder.levels["lj"]), fallen)
        keep(folder, make_job("gap", parent, level("standard")), {"gap_pbe": 9.0, "gap_direct_pbe": 9.0})
        keep(folder, make_job("relax", child, level("standard")), of_child)
        keep(folder, make_job("gap", relaxed, level("standard")), None if gap is None else {"gap_pbe": gap})
    return file


def keep(folder: Path, spec: JobSpec, values: dict[str, Any] | None) -> None:
    attempt = folder / "store" / "jobs" / spec.key / "1"
    attempt.mkdir(parents=True)
    failed = {"status": "failed", "reason": "scf_not_converged", "message": "", "retryable": False, "values": {}}
    ended = failed if values is None else {"status": "completed", "values": values}
    result = {"version": 1, "key": spec.key, "attempt": 1, **ended}
    (attempt / "result.json").write_text(json.dumps(result))


FOLLOWED = distorts(level="lj", child="follows")


@pytest.mark.gpaw
def test_formation_energy_and_hull_are_the_childs_whatever_the_size_of_its_cell(tmp_path: Path) -> None:
    energy = -5.0
    file = answered(tmp_path, [FOLLOWED, "relax", "gap"], energy, 1.5, batch=2)
    record = run(file, tmp_path / "run")
    rows, specs, _ = read(tmp_path / "run")
    assert {row.pick.state for row in rows} == {PickState.COMPUTED}
    assert on(specs["relax"]).n_atoms == on(specs["gap"]).n_atoms == 16
    ranked = {row["candidate_id"]: row for row in record.ranking}
    with open_driver(None, tmp_path / "run") as driver:
        known = driver.knowledge.hull()
        learned = _examples(driver.campaign)
        for row in rows:
            parent = driver.campaign.pool.crystal(row.pick.candidate_index)
            labels = {label.quantity: label.value for label in row.pick.labels}
            formation = References.default().formation_energy_per_atom(parent.composition, energy)
            assert labels["formation_energy_per_atom"] == pytest.approx(formation)
            above = formation - known.hull_energy(parent.composition, exclude=row.pick.candidate_id)
            assert ranked[row.pick.candidate_id]["values"]["energy_above_hull"] == pytest.approx(above)
            assert ranked[row.pick.candidate_id]["formula"] == parent.formula
            example = learned[f"pick/{row.pick.candidate_id}"]
            assert structure_hash(example.crystal) == structure_hash(parent), "the child's labels, of what was picked"
            assert example.targets == {"formation_energy_per_atom": pytest.approx(formation), "gap_pbe": 1.5}
    from materia.tracking._runs import _csv

    assert all(",parent,child" in line for line in _csv(record.ranking).splitlines() if "cesium" in line)
    assert "which the potential had not relaxed to the end" in (tmp_path / "run/report/index.html").read_text()


@pytest.mark.gpaw
@pytest.mark.parametrize("gap", [1.5, None])
def test_what_dft_said_of_the_parent_is_no_label_of_the_child(tmp_path: Path, gap: float | None) -> None:
    """Also where the child's own calculation fails."""
    file = answered(tmp_path, ["gap", FOLLOWED, "relax", "gap"], -5.0, gap)
    run(file, tmp_path / "run")
    (row,), specs, _ = read(tmp_path / "run")
    assert row.pick.state is (PickState.FAILED if gap is None else PickState.COMPUTED)
    labels = {label.quantity: label for label in row.pick.labels}
    assert labels["energy_per_atom"].source == specs["relax"].key
    assert "gap_direct_pbe" not in labels, "of the parent alone"
    assert ("gap_pbe" in labels and labels["gap_pbe"].value) == (gap or False)
    (entry,) = build_dataset([tmp_path / "run"], name="mine", card={})
    assert entry.labels == (() if gap is None else row.pick.labels)
    assert [job.recipe for job in entry.jobs] == ["gap", "distorts", "relax", "gap"]
    assert entry.jobs[0].values["gap_pbe"] == 9.0, "the job of the parent is kept"


@pytest.mark.gpaw
def test_a_child_that_is_too_dear_stops_its_pick_unless_a_person_wants_it(tmp_path: Path) -> None:
    file = answered(tmp_path, [FOLLOWED, "relax", "gap"], -5.0, 1.5)
    with open_driver(file, tmp_path / "asked") as driver:
        dearest = float(np.max(driver.knowledge.costs)) + 1
        names = driver.campaign.pool.ids
    content = yaml.safe_load(file.read_text())
    content["search"]["max_cost_s"] = dearest
    file.write_text(yaml.safe_dump(content))
    run(file, tmp_path / "run")
    (row,), specs, _ = read(tmp_path / "run")
    assert row.pick.state is PickState.STOPPED
    assert row.pick.reason.startswith("it distorted into a cell of 16 atoms: ")
    assert set(specs) == {"distorts@lj"}
    with open_driver(file, tmp_path / "wanted") as driver:
        driver.step()
        materia.pin(tmp_path / "wanted", names[0], why="to be sure", who="Ada")
    run(file, tmp_path / "wanted")
    assert [row.pick.state for row in read(tmp_path / "wanted")[0]] == [PickState.COMPUTED]


# ------------------------------------------------------------------ the setting


@pytest.mark.parametrize(
    ("recipes", "words"),
    [
        (["relax", {"recipe": "static", "child": "follows"}], "of the recipe distorts alone: static leaves none"),
        ([{"recipe": "static", "child": "stays"}], "of the recipe distorts alone"),
        ([FOLLOWED], "no rung follows"),
        ([{**FOLLOWED, "child": "goes"}, "static"], "'follows' or 'stays'"),
        (["relax", "gap", FOLLOWED, "gap"], "relax below distorts is computed on the parent alone"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(tmp_path: Path, recipes: list[Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_settings(written(tmp_path, recipes, ladder={"level": "rough"}))


def test_a_file_without_the_setting_means_what_it_meant(tmp_path: Path, computed: tuple[str, Path]) -> None:
    """And so does the campaign that was started with it, which cannot be resumed with another."""
    recipes = ["relax", distorts(child="follows"), "static"]
    assert load_settings(written(tmp_path, recipes)).model_dump(mode="json")["ladder"]["recipes"] == recipes
    older = written(tmp_path, ["relax", "distorts", "static"])
    settings = load_settings(older)
    assert settings.ladder.recipes[1].child == "stays"
    assert settings.model_dump(mode="json")["ladder"]["recipes"] == ["relax", "distorts", "static"]
    child, folder = computed
    if child == "stays":
        run(older, folder)
    else:
        with pytest.raises(CampaignError, match="other settings"):
            run(older, folder)


def test_a_child_that_distorts_again_is_followed_again(tmp_path: Path) -> None:
    """With outcomes that are made up, of two rungs that both find a child."""
    file = written(tmp_path, [distorts(child="follows"), distorts(child="follows"), "static"])
    ladder = load_settings(file).ladder
    parent = generate(load_settings(file).space).crystal(0)
    first, second = doubled(parent), doubled(parent).scaled_to_volume(parent.volume * 7)

    class Told(dict[str, Outcome]):
        outcome = dict.get

    told = Told()
    for crystal, child, names in ((parent, first, ("a", "b")), (first, second, ("b", "c"))):
        key = make_job("distorts", crystal, ladder.own).key
        values = {"distorts": True, "child": child.to_record(), "distortion_energy": 0.01}
        values |= {"parent_prototype": names[0], "child_prototype": names[1]}
        told[key] = Outcome(key, OutcomeKind.COMPLETED, values=values)
    way = walk(ladder, ladder.rungs, told, parent)  # type: ignore[arg-type]
    assert structure_hash(way.structure) == structure_hash(second)
    assert [(step["parent_prototype"], step["child_prototype"]) for step in way.distortions] == [("a", "b"), ("b", "c")]
    assert len(way.results) == 2
