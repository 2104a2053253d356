"""A campaign folder: made once from a campaign file, opened again as it was started."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from materia import files
from materia.campaign._changes import Changes, changes, record_changes
from materia.campaign._database import CampaignDatabase, storage_errors
from materia.campaign._gate import pass_gate
from materia.campaign._phases import FOLDER, known_phases, load_known
from materia.campaign._pseudopotentials import OF_ENERGIES, check_labels, pseudopotentials
from materia.campaign._references import FILE as REFERENCES
from materia.campaign._references import references_in, references_of
from materia.campaign._rivals import FOLDER as RIVALS
from materia.campaign._rivals import load_rivals, rivals_of
from materia.campaign._settings import CampaignSettings, load_settings, parse_settings
from materia.compute import DriverLock
from materia.data import Dataset
from materia.errors import CampaignError, EngineError
from materia.resources import resource
from materia.simulation import Level, engine, lacking, level_hash
from materia.space import Pool, generate
from materia.stability import References

VERSIONS = ("materia", "torch", "e3nn", "optuna", "pymatgen", "ase", "gpaw", "gpaw-data", "mlflow", "numpy")


@dataclass(frozen=True)
class Campaign:
    """An open campaign: settings, frozen pool, starting labels, database, and what of the settings is other than at the
    last start. Held by one driver at a time."""

    folder: Path
    settings: CampaignSettings
    pool: Pool
    dataset: Dataset
    database: CampaignDatabase
    lock: DriverLock
    changed: Changes = field(default_factory=dict)

    @cached_property
    def rungs(self) -> tuple[tuple[str, Level], ...]:
        """(recipe, level) of the ladder, from the first on."""
        return self.settings.ladder.rungs

    @cached_property
    def references(self) -> References | None:
        """Elemental references, as they were when the campaign was started; None where there are none at its level."""
        return references_in(self.folder, self.settings.ladder.own)

    @cached_property
    def known(self) -> Pool | None:
        """Competing phases from files, as they were when the campaign was started; None without any."""
        return load_known(self.folder)

    @cached_property
    def rivals(self) -> Pool | None:
        """Compounds beside the pool that predicted distances to the hull are measured from too; None without any."""
        return load_rivals(self.folder)

    @property
    def advice(self) -> str:
        """What the backtest had said when the campaign was started, in a line; empty where nobody asked."""
        return str(self.database.meta().get("plan", {}).get("message", ""))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of what decides and computes; absent packages are left out."""
    found = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def load_dataset(settings: CampaignSettings) -> Dataset:
    """The labels a campaign starts from.

    Raises:
        DatasetError: the folder holds none, or it is damaged.
    """
    if settings.data is None:
        return Dataset.empty()
    return Dataset.load(resource("data/dataset") if settings.data == "shipped" else settings.data)


def check_engine(settings: CampaignSettings) -> None:
    """Before anything is written: can the campaign's calculations run at all?

    Raises:
        EngineError: the engine of a level is not installed, lacks what a recipe needs, or has no MPI and is to run on
            several ranks.
    """
    for name, level in settings.ladder.levels.items():
        program = engine(level.engine)
        capabilities = program.capabilities(level)
        if not capabilities.available:
            raise EngineError(f"{capabilities.missing}: the level {name!r} needs it", remedy=capabilities.remedy)
        if program.electrons and settings.compute.ranks > 1 and not capabilities.features.get("mpi"):
            raise EngineError(
                f"{program.name} was built without MPI, and jobs are to run on {settings.compute.ranks} ranks",
                where="compute.ranks",
                remedy="build it with the MPI of the machine that computes (docs/installation.md), or leave ranks at 1",
            )
    for recipe, level in settings.ladder.rungs:
        program = engine(level.engine)
        if lacks := lacking(recipe, program.name, program.capabilities(level)):
            raise EngineError(lacks[0], where="ladder.recipes", remedy=lacks[1])


def check_references(settings: CampaignSettings) -> None:
    """Before a campaign starts: can formation energies be counted, where it needs them?

    Raises:
        ConfigError, DatasetError: as of :func:`~materia.campaign._references.references_of`.
        EngineError: there are no references at the level of the ladder.
    """
    own, wanted = settings.ladder.own, {x.quantity for x in (*settings.objectives, *settings.constraints)}
    needs = "ladder.competing" if settings.ladder.competing is not None else ", ".join(sorted(wanted & OF_ENERGIES))
    if references_of(settings.ladder) is None and needs:
        raise EngineError(
            f"{needs} is counted from the elements, and there are no reference energies at level {own.name!r}",
            where="ladder.level",
            remedy="name a file as ladder.references and compute it with `materia references CAMPAIGN-FILE`, or use "
            "level standard, whose references ship with materia",
        )


@contextmanager
def open_campaign(file: Path | None, folder: Path, *, progress: bool = False, override: str = "") -> Iterator[Campaign]:
    """Open a campaign for driving: made from ``file`` if the folder holds none yet, else resumed.

    Everything that can be wrong with the input is found before the folder is touched.

    Args:
        override: reason for which it starts whatever its plan says, see :mod:`materia.campaign._gate`; means nothing
            to a campaign that was started already.

    Raises:
        ConfigError: the file is wrong.
        CampaignError: the folder was started with another file, in more than may change on the way; or it requires a
            plan, and there is none that speaks for it.
        EngineError: the engine is not there, or lacks a pseudopotential of an element in the pool; labels to start from
            were computed with others; formation energies or competing phases are asked for at a level without
            elemental references.
        CampaignLockedError: another driver holds it.
        StructureError, SpaceError: a file of competing phases is bad.
        StorageError: disk full, no permission.
    """
    wanted = load_settings(file) if file is not None else None
    changed: Changes = {}
    started = folder / "campaign.yaml"
    if started.is_file():
        settings = parse_settings(yaml.safe_load(started.read_text())["campaign"], where=started)
        if wanted is not None and file is not None:
            changed = changes(settings, wanted, file=file, folder=folder)
            settings = wanted
    elif wanted is not None:
        settings = wanted
    else:
        raise CampaignError("no campaign in this folder", where=folder, remedy="start one with `materia run FILE`")
    check_engine(settings)
    dataset = load_dataset(settings)
    plan = {} if started.is_file() else pass_gate(settings, dataset, folder, override)
    pool = None if (folder / "pool" / "pool.json").is_file() else generate(settings.space, progress=progress)
    known = None
    if not started.is_file():  # what is lacking, or does not fit, is told before anything is written
        candidates = Pool.load(folder / "pool") if pool is None else pool
        check_references(settings)
        check_labels(settings, dataset, pseudopotentials(settings, candidates))
        known = known_phases(settings.ladder, candidates)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with DriverLock(folder) as lock:
            if pool is None:
                pool = Pool.load(folder / "pool")
            else:
                pool.save(folder / "pool")
            if known is not None:
                known.save(folder / FOLDER)
            if not started.is_file() and settings.ladder.references is not None:
                files.write_whole(folder / REFERENCES, settings.ladder.references.read_text())
            if not started.is_file() and (beside := rivals_of(settings, pool, dataset, known)) is not None:
                beside.save(folder / RIVALS)
            database = CampaignDatabase(folder / "campaign.sqlite")
            try:
                database.bring_up_to_date()
                _pin(database, settings, pool, dataset, {"file": str(file or ""), "plan": plan})
                if changed:
                    record_changes(database, changed, now())
                    _write_changed(started, settings)
                if not started.is_file():
                    _write_started(started, settings, dataset, pool)
                yield Campaign(folder, settings, pool, dataset, database, lock, changed)
            finally:
                database.close()


def _pin(
    database: CampaignDatabase,
    settings: CampaignSettings,
    pool: Pool,
    dataset: Dataset,
    more: Mapping[str, Any],
) -> None:
    """Write what the campaign hangs on the first time; refuse to go on with anything else."""
    meta = database.meta()
    chosen = settings.ladder.own
    others = {name: level for name, level in settings.ladder.levels.items() if name != chosen.name}
    pinned = {
        "pool_hash": pool.hash,
        "dataset": {
            "name": dataset.card.get("name", ""),
            "digest": dataset.digest,
            "n": len(dataset),
            "card": dict(dataset.card),
        },
        "level": _written(chosen),
        "potentials": {name: _written(level) for name, level in others.items()},
        "pseudopotentials": pseudopotentials(settings, pool),
    }
    if "name" not in meta:
        first = {"name": settings.name, "state": "running", "started": now(), "versions": versions()}
        with database.transaction():
            database.set_meta({**first, **pinned, **more})
        return
    kinds = {
        "pool_hash": "pool",
        "level": "level of theory",
        "potentials": "interatomic potential",
        "dataset": "training dataset",
        "pseudopotentials": "set of pseudopotentials",
    }
    for key, label in kinds.items():
        old, new = meta.get(key, pinned[key]), pinned[key]  # older campaigns do not say their pseudopotentials
        same = old["digest"] == new["digest"] if key == "dataset" else old == new  # type: ignore[index]
        if not same:
            raise CampaignError(
                f"the {label} is no longer the one this campaign was started with",
                where=database.path,
                remedy="start a new campaign in another folder; compute.stores reuses finished calculations",
            )


def _written(level: Level) -> dict[str, Any]:
    return {"name": level.name, "hash": level_hash(level), **level.model_dump(mode="json", exclude={"name"})}


def _write_started(path: Path, settings: CampaignSettings, dataset: Dataset, pool: Pool) -> None:
    content: dict[str, Any] = {
        "campaign": settings.model_dump(mode="json"),
        "versions": versions(),
        "digests": {"pool": pool.hash, "dataset": dataset.digest},
    }
    files.write_whole(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _write_changed(path: Path, settings: CampaignSettings) -> None:
    """The settings as they are now; versions and digests stay those of the start."""
    content = {**yaml.safe_load(path.read_text()), "campaign": settings.model_dump(mode="json")}
    files.write_whole(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
