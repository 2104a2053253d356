"""A dataset that grows: what is in it stays, what other folders say of the same structures joins it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from materia.campaign import build_dataset, run
from materia.data import Dataset, Entry
from materia.errors import CampaignError, DatasetError, EngineError
from materia.quantities import FORMATION_ENERGY
from materia.resources import resource


@pytest.fixture(scope="module")
def shipped() -> Dataset:
    return Dataset.load(resource("data/dataset"))


def only(entry: Entry, recipes: set[str]) -> Entry:
    """The entry as it would be had only these recipes been run."""
    jobs = tuple(job for job in entry.jobs if job.recipe in recipes)
    keys = {job.key for job in jobs}
    return replace(entry, jobs=jobs, labels=tuple(label for label in entry.labels if label.source in keys))


def without_hybrids(dataset: Dataset) -> Dataset:
    return replace(dataset, entries=tuple(only(entry, {"relax", "gap"}) for entry in dataset))


def records(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    return [entry.to_record() for entry in entries]


def test_parts_that_overlap_are_put_together(shipped: Dataset, tmp_path: Path) -> None:
    some = [entry for entry in shipped if any(job.recipe == "hybrid_spin_orbit" for job in entry.jobs)][:3]
    some += [entry for entry in shipped if entry.status == "failed"][:1]
    whole = replace(shipped, entries=tuple(some)).save(tmp_path / "whole")
    replace(without_hybrids(whole), entries=without_hybrids(whole).entries[:-1]).save(tmp_path / "cheap")
    replace(whole, entries=whole.entries[1:]).save(tmp_path / "most")
    made = build_dataset([tmp_path / "cheap", tmp_path / "most"], name="materia-pbe", card={})
    assert records(made) == records((without_hybrids(whole).entries[0], *whole.entries[1:]))
    assert made.card["level_hash"] == shipped.card["level_hash"]
    # the other way round nothing is lost either; the order of labels alone is another
    turned = {e.id: e for e in build_dataset([tmp_path / "most", tmp_path / "cheap"], name="x", card={})}
    for entry in whole.entries[1:]:
        assert turned[entry.id].values() == entry.values()
        assert {job.key for job in turned[entry.id].jobs} == {job.key for job in entry.jobs}


def test_formation_energies_are_those_of_the_shipped_references(shipped: Dataset, tmp_path: Path) -> None:
    def spoilt(entry: Entry) -> Entry:
        return replace(
            entry,
            labels=tuple(replace(x, value=9.9) if x.quantity == FORMATION_ENERGY else x for x in entry.labels),
        )

    few = shipped.computed[:3]
    replace(shipped, entries=tuple(map(spoilt, few))).save(tmp_path / "old")
    assert records(build_dataset([tmp_path / "old"], name="new", card={})) == records(few)


def other_level(card: dict[str, Any]) -> None:
    card["level"] = {**card["level"], "cutoff_ev": 500.0}


def imported(card: dict[str, Any]) -> None:
    card["level"] = {"name": "each label names its own"}


@pytest.mark.parametrize(
    ("change", "words"), [(other_level, "different levels: standard"), (imported, "was not built of campaigns")]
)
def test_values_of_other_levels_are_not_mixed_in(
    shipped: Dataset, tmp_path: Path, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    card = dict(shipped.card)
    change(card)
    Dataset(shipped.entries[:2], shipped.card).save(tmp_path / "ours")
    Dataset(shipped.entries[2:4], card).save(tmp_path / "theirs")
    with pytest.raises(CampaignError, match=words):
        build_dataset([tmp_path / "ours", tmp_path / "theirs"], name="both", card={})


def test_calculations_with_two_pseudopotentials_of_an_element_make_no_dataset(shipped: Dataset, tmp_path: Path) -> None:
    entry = next(e for e in shipped.computed if "Ga" in e.structure.elements)
    first, *others = entry.jobs
    used = {**first.provenance["pseudopotentials"], "Ga": "another"}
    spoilt = replace(first, provenance={**first.provenance, "pseudopotentials": used})
    other = replace(entry, id="other", jobs=(spoilt, *others))
    Dataset((entry, other), shipped.card).save(tmp_path / "mixed")
    with pytest.raises(EngineError, match=r"two pseudopotentials of Ga, [0-9a-f]{12} and another"):
        build_dataset([tmp_path / "mixed"], name="mixed", card={})


@pytest.mark.gpaw
def test_another_campaign_takes_its_results_over(shipped: Dataset, tmp_path: Path) -> None:
    """Named among the stores, a dataset saves its calculations to a campaign that learns nothing from it."""
    known = {e.id: e for e in (*shipped.computed[:2], next(e for e in shipped if e.status == "failed"))}
    Dataset(tuple(known.values()), shipped.card).save(tmp_path / "dataset")
    lines = ({"id": e.id, "prototype": e.prototype, "structure": e.initial.to_record()} for e in known.values())
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    content = {
        "version": 1,
        "name": "again",
        "data": None,
        "space": {"exclude": [], "prototypes": [], "arity": [1, 2, 3], "files": ["pool.jsonl"]},
        "objectives": [{"quantity": "gap_pbe", "goal": "maximize"}],
        "surrogate": None,
        "search": {"rounds": 1, "batch": 3, "acquisition": "random", "exploration": 0},
        "ladder": {"level": "standard", "recipes": ["relax", "gap"]},
        "compute": {"stores": ["dataset"]},
        "tracking": {"enabled": False},
    }
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(content))
    record = run(tmp_path / "again.yaml", tmp_path / "again")
    assert not any((tmp_path / "again" / "jobs").glob("*"))
    picks = {pick.candidate_id: pick for pick in record.rounds[0].picks}
    assert picks.keys() == known.keys()
    for name, entry in known.items():
        found = {label.quantity: label.value for label in picks[name].labels}
        assert found == pytest.approx({q: v for q, v in entry.values().items() if "hse06" not in q})
    (tmp_path / "dataset" / "shard-000.jsonl").write_text("{}\n")
    with pytest.raises(DatasetError):
        run(tmp_path / "again.yaml", tmp_path / "once_more")
