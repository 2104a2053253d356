"""Predicted distances to the hull count what is only predicted, too."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instant_campaign import Instant, instant
from materia.campaign import load_settings
from materia.campaign._rivals import rivals_of
from materia.data import Dataset
from materia.space import generate
from materia.stability import References

ZINCBLENDE, ROCKSALT = -0.5, -0.2  # formation energies of all candidates, eV/atom


def formation(name: str) -> float:
    return ZINCBLENDE if name.endswith("zincblende") else ROCKSALT


def campaign(folder: Path, hull: str, rivals: Callable[[str], float] | None = None, **changes: Any) -> Instant:
    """A gap is wanted, and at most 0.05 eV/atom above the hull; the surrogate is right about formation energies.

    Args:
        rivals: name of a compound beside the pool -> its predicted formation energy; not predicted by default, as in
            campaigns of older versions.
    """
    references = References.default()

    def per_atom(name: str) -> float:
        formula = name.split("-")[0]
        cut = next(i for i, c in enumerate(formula) if i > 0 and c.isupper())
        return formation(name) + sum(references.energy_per_atom(s) for s in (formula[:cut], formula[cut:])) / 2

    made = instant(
        folder,
        data=None,
        energy=per_atom,
        ladder={"level": "standard"},
        search={"hull": hull, "exploration": 0, "diversity": 0, "cost_power": 0, "rounds": 2, "batch": 5},
        **{
            "objectives": [{"quantity": "gap_pbe", "window": [0.5, 2.9]}],
            "constraints": [{"quantity": "energy_above_hull", "below": 0.05}],
            **changes,
        },
    )
    settings = load_settings(made.file)
    pool = generate(settings.space)
    energies = np.array([formation(name) for name in pool.ids])
    beside = rivals_of(settings, pool, Dataset.empty(), None)
    for model in sorted((made.folder / "models").iterdir()):
        card = json.loads((model / "card.json").read_text())
        (model / "card.json").write_text(json.dumps({**card, "targets": ["gap_pbe", "formation_energy_per_atom"]}))
        with np.load(model / "predictions.npz") as arrays:
            kept = dict(arrays)
        kept["mean"] = np.column_stack([kept["mean"], energies])
        kept["std"] = np.column_stack([kept["std"], np.full(len(energies), 0.05)])
        if rivals is not None and beside is not None:
            kept["rivals"] = np.array([rivals(name) for name in beside.ids])
        np.savez(model / "predictions.npz", **kept)
    made.finish()
    return made


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Instant:
    return campaign(tmp_path_factory.mktemp("expected"), "expected")


@pytest.mark.gpaw
def test_a_polymorph_that_is_only_predicted_competes(expected: Instant) -> None:
    """Every zincblende lies 0.3 eV/atom below its rock salt, which is not computed: it is not worth it."""
    picks = [p for r in expected.record.rounds for p in r.picks]
    assert len(picks) == 10
    for pick in picks:
        assert pick.candidate_id.endswith("zincblende")
        assert pick.predictions["energy_above_hull"]["mean"] == pytest.approx(ZINCBLENDE - ROCKSALT)
        (rival,) = expected.record.dossiers[pick.candidate_id]["rivals"]
        assert rival == {
            "name": pick.candidate_id.replace("zincblende", "rocksalt"),
            "share": pytest.approx(1.0),
            "predicted": True,
        }
    for row in expected.record.ranking:
        if row["status"] == "computed":  # what is found is held against what is known: here the elements
            assert row["values"]["energy_above_hull"] == pytest.approx(ZINCBLENDE)


@pytest.mark.gpaw
def test_a_phase_that_was_computed_counts_as_computed(tmp_path: Path) -> None:
    """With the known hull rock salts are picked as well; then a zincblende of the second round is held against them."""
    known = campaign(tmp_path, "known")
    first, second = (list(r.picks) for r in known.record.rounds)
    assert any(p.candidate_id.endswith("rocksalt") for p in first)
    for pick in first:
        assert pick.predictions["energy_above_hull"]["mean"] == pytest.approx(formation(pick.candidate_id))
    computed = {p.candidate_id for p in first}
    for pick in second:
        formula, _, shape = pick.candidate_id.partition("-")
        other = f"{formula}-{'rocksalt' if shape == 'zincblende' else 'zincblende'}"
        below = formation(other) if other in computed else 0.0
        assert pick.predictions["energy_above_hull"]["mean"] == pytest.approx(formation(pick.candidate_id) - below)
    assert not any(dossier["rivals"] for dossier in known.record.dossiers.values())


@pytest.mark.gpaw
def test_an_objective_is_predicted_as_it_is_found(tmp_path: Path) -> None:
    """Both from computed phases, or nothing that is predicted would reach what was found."""
    wanted = [{"quantity": "gap_pbe", "window": [0.5, 2.9]}, {"quantity": "energy_above_hull", "goal": "minimize"}]
    made = campaign(tmp_path, "expected", objectives=wanted, constraints=[])
    for pick in made.record.rounds[0].picks:
        assert pick.predictions["energy_above_hull"]["mean"] == pytest.approx(formation(pick.candidate_id))


@pytest.mark.gpaw
def test_page_and_trace_say_what_it_is_measured_from(expected: Instant) -> None:
    name = expected.record.rounds[0].picks[0].candidate_id
    rival = f"{name.replace('zincblende', 'rocksalt')} (predicted) 100 %"
    page = (expected.folder / "report" / "index.html").read_text()
    assert f"The predicted distance to the hull is that to {rival}" in page
    assert "A <em>predicted</em> distance also counts the other candidates, and compounds of their elements" in page
    argv = [sys.executable, "-m", "materia.cli", "trace", str(expected.folder), name]
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert f"predicted distance to the hull: to {rival}" in " ".join(told.split())


@pytest.mark.gpaw
def test_compounds_beside_the_pool_compete(tmp_path: Path) -> None:
    """A space of zincblendes alone: rock salts, predicted 0.2 eV/atom below, are what they are measured from."""
    below = {"rocksalt": ZINCBLENDE - 0.2}
    made = campaign(
        tmp_path,
        "expected",
        rivals=lambda name: below.get(name.partition("-")[2], 0.0),
        space={"prototypes": ["zincblende"]},
    )
    for pick in (p for r in made.record.rounds for p in r.picks):
        assert pick.predictions["energy_above_hull"]["mean"] == pytest.approx(0.2)
        (rival,) = made.record.dossiers[pick.candidate_id]["rivals"]
        assert rival == {
            "name": pick.candidate_id.replace("zincblende", "rocksalt"),
            "share": pytest.approx(1.0),
            "predicted": True,
        }
