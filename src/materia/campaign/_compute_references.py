"""Energies of the elements at a campaign's own level, computed once and kept in a file for every campaign there."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from materia.campaign._database import CampaignDatabase, storage_errors
from materia.campaign._folder import check_engine
from materia.campaign._ladder import stores_named
from materia.campaign._references import read_references, references_for
from materia.campaign._settings import CampaignSettings, load_settings
from materia.compute import DriverLock, Estimates, JobManager, Ledger, open_backend
from materia.crystal import Crystal
from materia.errors import ConfigError, ElementError
from materia.record import JobSpec, Outcome
from materia.simulation import Level, engine, level_hash, make_job
from materia.space import generate
from materia.stability import ElementReference, References


@dataclass(frozen=True)
class ComputedReferences:
    """What is known of the elements of a campaign's space.

    Attributes:
        path: of the file.
        references: what it holds now, other elements of earlier calls included.
        new: elements that were computed, or found in a store, by this call.
        failed: element -> why its calculation ended without an energy.
        without: elements of the space that materia knows no reference phase of; compounds of theirs have no formation
            energy.
    """

    path: Path
    references: References
    new: tuple[str, ...]
    failed: Mapping[str, str]
    without: tuple[str, ...]


def compute_references(
    file: str | Path,
    folder: str | Path | None = None,
    *,
    progress: bool = False,
    on_job: Callable[[str, Outcome], None] | None = None,
) -> ComputedReferences:
    """Compute what the file ``ladder.references`` of a campaign lacks: the elements of its space at its level.

    Each element's phase is the one behind the references that ship with materia, with the recipe that was used there:
    relaxed from that geometry, kept at the measured one (graphite, black phosphorus), or a molecule in a box. Jobs run
    where the campaign's would. A call that was cut off goes on from the jobs that have ended.

    Args:
        file: campaign file.
        folder: of the jobs; ``runs/references-LEVEL`` by default.
        progress: show progress bars of long work.
        on_job: called with the element and its outcome when a job has ended.

    Raises:
        ConfigError: the campaign names no file, its ladder is a potential's or at a level whose references ship, or the
            file was computed at another level.
        EngineError: the engine is not there, or lacks a pseudopotential.
        DatasetError: the file is damaged.
        CampaignLockedError: another call is at it.
        StorageError: disk full, no permission.
    """
    settings = load_settings(file)
    own, path = settings.ladder.own, _file_of(settings)
    check_engine(settings)
    shipped = References.default()
    kept = _kept(path, own)
    wanted = sorted(set().union(*generate(settings.space, progress=progress).compositions))
    able = [element for element in wanted if element in shipped.elements]
    here = engine(own.engine).pseudopotentials(able, own)
    jobs = {element: _job(element, shipped.elements[element], own, settings.compute.ranks) for element in able}
    found = {e: one for e, one in kept.elements.items() if e not in jobs or one.job == jobs[e].key}
    missing = {element: job for element, job in jobs.items() if element not in found}
    failed: dict[str, str] = {}

    def ended(element: str, outcome: Outcome) -> None:
        if outcome.ok:
            found[element] = _reference(shipped.elements[element], outcome)
            digests = {**kept.pseudopotentials, **{e: here[e] for e in found if e in here}}
            References(own.name, level_hash(own), found, digests, _card(own)).save(path)
        else:
            failed[element] = outcome.message or outcome.reason
        if on_job is not None:
            on_job(element, outcome)

    if missing:
        _run(settings, Path(folder or Path("runs") / f"references-{own.name}"), missing, ended)
    without = tuple(element for element in wanted if element not in shipped.elements)
    return ComputedReferences(path, _kept(path, own), tuple(e for e in missing if e in found), failed, without)


def _file_of(settings: CampaignSettings) -> Path:
    own = settings.ladder.own
    if own.potential is not None:
        raise ConfigError(
            f"the ladder's level {own.name!r} is a potential, and formation energies are those of DFT",
            where="ladder.level",
        )
    if references_for(own) is not None:
        raise ConfigError(
            f"the references at level {own.name!r} ship with materia: there is nothing to compute",
            where="ladder.level",
            remedy="leave ladder.references out",
        )
    if settings.ladder.references is None:
        raise ConfigError(
            "the campaign names no file for them",
            where="ladder.references",
            remedy=f"add to its ladder: references: references-{own.name}.json",
        )
    return settings.ladder.references


def _kept(path: Path, own: Level) -> References:
    """What the file holds; nothing where there is none."""
    return read_references(path, own) if path.is_file() else References(own.name, level_hash(own), {})


def _job(element: str, reference: ElementReference, own: Level, ranks: int) -> JobSpec:
    if reference.crystal is None:
        raise ElementError(f"the reference of {element} has no structure", remedy="restore data/references.json")
    return make_job(reference.recipe, reference.crystal, own, name=f"{element}/{reference.phase}", ranks=ranks)


def _reference(like: ElementReference, outcome: Outcome) -> ElementReference:
    structure = outcome.values.get("structure")
    return ElementReference(
        energy_per_atom=float(outcome.values["energy_per_atom"]),
        phase=like.phase,
        recipe=like.recipe,
        crystal=like.crystal if structure is None else Crystal.from_record(dict(structure)),
        job=outcome.key,
        cpu_s=round(float(outcome.provenance.get("cpu_s", 0.0)), 1),
        versions=dict(outcome.provenance.get("versions", {})),
    )


def _card(own: Level) -> dict[str, object]:
    return {
        "title": f"Elemental reference energies, {own.engine} {own.fidelity}, level {own.name}",
        "settings": own.model_dump(mode="json"),
    }


def _run(
    settings: CampaignSettings, folder: Path, jobs: Mapping[str, JobSpec], ended: Callable[[str, Outcome], None]
) -> None:
    """Every job to its end; each is told as soon as it has."""
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with DriverLock(folder) as lock:
            database = CampaignDatabase(folder / "campaign.sqlite")
            try:
                ledger, backend = Ledger(database.connection), open_backend(settings.compute)
                ledger.create_tables()
                stores = stores_named(settings.compute.stores)
                manager = JobManager(ledger, backend, folder, stores=stores, retries=settings.compute.retries)
                estimates = Estimates((), settings.compute.estimates)
                with database.transaction():
                    for job in jobs.values():
                        ledger.add(job, estimates.ask(job, backend.limits()).resources)
                left = dict(jobs)
                while left:
                    lock.check()
                    manager.advance()
                    for element, job in list(left.items()):
                        if (outcome := ledger.outcome(job.key)) is not None:
                            del left[element]
                            ended(element, outcome)
                    if left:
                        time.sleep(backend.poll_interval_s)
            finally:
                database.close()
