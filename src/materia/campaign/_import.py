"""What users have computed already comes in as labels; at one of materia's own levels it is never computed again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from materia import files
from materia.campaign._labels import labels_from
from materia.campaign._references import references_for
from materia.crystal import prototype_label
from materia.data import Dataset, Entry, JobResult, Quarantined
from materia.data.calculations import Calculation, read_calculations
from materia.errors import DatasetError
from materia.record import Label
from materia.simulation import Level, key_at, recognise
from materia.simulation.recipes import MAX_VOLUME_CHANGE

KIND: Final = "imported calculations"
_QUARANTINE: Final = "quarantine.jsonl"


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes:
        dataset: everything in the folder now.
        new: ids of entries that were not there before.
        known: calculations that were there already.
        done: ids of new entries that count as done at one of materia's own levels.
        quarantine: what could not be used, with reasons.
    """

    dataset: Dataset
    new: tuple[str, ...]
    known: int
    done: tuple[str, ...]
    quarantine: tuple[Quarantined, ...]


def import_calculations(sources: Sequence[str | Path], out: str | Path) -> Imported:
    """Add the calculations in files and folders to a dataset folder; those it has already change nothing.

    A calculation is known by the content of its file, wherever it lies. Its labels carry the fidelity of its
    functional and a level of its own (settings on the card). Only where program, functional, cutoff, k-points,
    smearing, spin and the digests of all pseudopotentials are those of one of materia's levels does it get that level,
    and its job counts as done.

    Raises:
        DatasetError: a source is not there; ``out`` holds a dataset that was not imported.
    """
    out = Path(out)
    before = _dataset_in(out)
    known = {entry.id for entry in before}
    added: dict[str, Entry] = {}
    levels: dict[str, Any] = dict(before.card.get("levels", {}))
    quarantine: list[Quarantined] = []
    n_known, done = 0, []
    for calculation in _all(sources):
        if isinstance(calculation, Quarantined):
            quarantine.append(calculation)
            continue
        if not calculation.values:
            reason = f"{calculation.functional}, but no number there is a quantity for"
            quarantine.append(Quarantined(calculation.place, reason, calculation.name))
            continue
        name = f"{calculation.structure.formula}-{calculation.digest[:12]}"
        if name in known or name in added:
            n_known += 1
            continue
        settings = calculation.settings
        level = recognise(calculation.code, calculation.functional, calculation.initial, settings)
        added[name] = _entry(name, calculation, level)
        if level is None:
            levels[calculation.level_hash] = calculation.level_settings
        elif any(job.recipe != KIND for job in added[name].jobs):
            done.append(name)
    entries = (*before.entries, *added.values())
    card = {
        "name": out.name,
        "kind": KIND,
        "title": f"Calculations imported into {out.name}",
        "licence": "not stated",
        "level": {"name": "each label names its own"},
        "levels": levels,
        "versions": {"materia": version("materia")},
        "units": {"energies": "eV", "lengths": "Å", "volumes": "Å³", "stress": "GPa", "forces": "eV/Å"},
    }
    dataset = Dataset(entries, card).save(out) if added or not before.card.get("digest") else before
    lines = [json.dumps({"place": q.place, "reason": q.reason, "id": q.id}, ensure_ascii=False) for q in quarantine]
    files.write_whole(out / _QUARANTINE, "".join(line + "\n" for line in lines))
    return Imported(dataset, tuple(added), n_known, tuple(done), tuple(quarantine))


def _dataset_in(folder: Path) -> Dataset:
    if not (folder / "card.json").is_file():
        return Dataset((), {})
    found = Dataset.load(folder)
    if found.card.get("kind") != KIND:
        raise DatasetError(
            f"the folder holds the dataset {found.card.get('name')!r}, which was not imported",
            where=folder,
            remedy="give --out a folder of its own",
        )
    return found


def _all(sources: Sequence[str | Path]) -> Iterable[Calculation | Quarantined]:
    for source in sources:
        yield from read_calculations(source)


def _entry(name: str, calculation: Calculation, level: Level | None) -> Entry:
    """One calculation as an entry: at a level of materia's with the jobs it stands for, else with labels only."""
    c = calculation
    provenance = {
        "code": c.code,
        "versions": {c.code: c.version},
        "functional": c.functional,
        "settings": dict(c.settings),
        "relaxation": dict(c.relaxation),
        "file": c.place,
        "sha256": c.digest,
    }
    record = JobResult(f"{KIND} {c.digest[:12]}", KIND, "completed", "", "", c.values, provenance)
    jobs: tuple[JobResult, ...] = (record,)
    if level is None:
        digest = c.level_hash
        source = f"{c.name or c.place} sha256:{c.digest[:12]}"
        labels = tuple(Label(q, v, c.functional, f"{c.code} {digest}", digest, source) for q, v in c.values.items())
    else:
        jobs = (*_jobs_done(c, level, provenance), record)
        relaxed = next((job for job in jobs if job.recipe == "relax"), None)
        # The gap of a grid is not that of recipe ``gap``, which follows the band path: no label at this level. And a
        # formation energy is one of a relaxed structure, or it would teach what a strained one costs.
        if relaxed is not None:
            labels = labels_from(c.structure, [(level, relaxed.key, _energies(c))], references_for(level))
        else:
            energy = {"energy_per_atom": c.numbers["energy"]}
            labels = labels_from(c.structure, [(level, jobs[0].key, energy)], None)
    return Entry(name, prototype_label(c.structure), "computed", "", c.initial, c.structure, labels, jobs)


def _energies(c: Calculation) -> dict[str, Any]:
    return {"energy_per_atom": c.numbers["energy"], "volume_per_atom": c.structure.volume / c.structure.n_atoms}


def _jobs_done(c: Calculation, level: Level, provenance: dict[str, Any]) -> tuple[JobResult, ...]:
    """The recipes this calculation is the result of: the same input would be computed to the same end."""
    values = _energies(c)
    steps = int(c.relaxation.get("steps", 0))
    ratio = c.structure.volume / c.initial.volume
    force, stress = (c.relaxation.get(name) for name in ("max_force", "max_stress"))
    results: dict[str, dict[str, Any]] = {}
    if steps == 0:
        results["static"] = values
    relaxed = force is not None and stress is not None
    relaxed = relaxed and force < level.force_tolerance and stress < level.stress_tolerance  # type: ignore[operator]
    if relaxed and 1 / MAX_VOLUME_CHANGE < ratio < MAX_VOLUME_CHANGE:
        results["relax"] = {
            "structure": c.structure.to_record(),
            **values,
            "max_force": force,
            "max_stress": stress,
            "volume_ratio": ratio,
            "n_steps": steps,
            "prototype_kept": prototype_label(c.structure, 0.05) == prototype_label(c.initial, 0.05),
        }
    return tuple(
        JobResult(key_at(recipe, c.initial, level), recipe, "completed", "", "", found, provenance)
        for recipe, found in results.items()
    )
