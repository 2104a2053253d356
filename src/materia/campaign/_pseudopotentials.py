"""Which pseudopotentials a campaign computes with, and that labels it is given were computed with the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from materia import quantities as q
from materia.campaign._references import references_of
from materia.campaign._settings import CampaignSettings
from materia.data import Dataset, Entry
from materia.errors import EngineError
from materia.simulation import Level, engine, level_for, level_hash
from materia.space import Pool

OF_ENERGIES = {q.FORMATION_ENERGY, q.ENERGY_ABOVE_HULL}


def pseudopotentials(settings: CampaignSettings, pool: Pool) -> dict[str, str]:
    """Digest of the engine's pseudopotential for every element of the candidates, at the ladder's own level.

    Raises:
        EngineError: it, the potential of another rung, or the functional of another recipe, has none for one of them.
    """
    elements = sorted(set().union(*pool.compositions))
    found = {
        name: engine(level.engine).pseudopotentials(elements, level) for name, level in settings.ladder.levels.items()
    }
    for recipe, level in settings.ladder.rungs:
        engine(level.engine).pseudopotentials(elements, level_for(recipe, level))
    return found[settings.ladder.level]


def check_labels(settings: CampaignSettings, dataset: Dataset, here: Mapping[str, str]) -> None:
    """The hash of a level does not tell pseudopotentials apart, and energies of different ones share no zero.

    Args:
        here: element -> digest of what the campaign would compute with.

    Raises:
        EngineError: labels at the campaign's level, or elemental references that it needs, are of other ones.
    """
    own = settings.ladder.own
    wanted = {x.quantity for x in (*settings.objectives, *settings.constraints)}
    references = references_of(settings.ladder)
    if references is not None and (wanted & OF_ENERGIES or settings.ladder.competing is not None):
        _refuse(here, references.pseudopotentials, "the elemental references were", "")
    if dataset.card.get("level_hash") == level_hash(own):
        of = f"the labels of the dataset {dataset.card.get('name')!r} were"
        _refuse(here, dataset.card.get("paw_datasets", {}), of, ", or start from another dataset (data)")


def _refuse(here: Mapping[str, str], there: Mapping[str, str], what: str, or_else: str) -> None:
    others = sorted(element for element in here.keys() & there.keys() if here[element] != there[element])
    if others:
        named = ", ".join(f"{element} ({there[element]}, here {here[element]})" for element in others)
        raise EngineError(
            f"{what} computed with other pseudopotentials than would be used: {named}",
            where="ladder.level",
            remedy=f"take these elements' files out of GPAW_SETUP_PATH or the level's folder (docs/level.md){or_else}",
        )


def of_entries(entries: Iterable[Entry], level: Level) -> dict[str, str]:
    """Element -> digest of the pseudopotential that the labels at this level were computed with.

    Raises:
        EngineError: there are two for one element.
    """
    found: dict[str, str] = {}
    digest_of_level = level_hash(level)
    for entry in entries:
        labelled = {label.source for label in entry.labels if label.level_hash == digest_of_level}
        for job in entry.jobs:
            if (
                job.key not in labelled or level_for(job.recipe, level) != level
            ):  # of a level, or functional, of its own
                continue
            for element, digest in job.provenance.get("pseudopotentials", {}).items():
                if found.setdefault(element, digest) != digest:
                    raise EngineError(
                        f"calculations with two pseudopotentials of {element}, {found[element]} and {digest}",
                        where=entry.id,
                        remedy="make a dataset of each, or compute one part again",
                    )
    return dict(sorted(found.items()))
