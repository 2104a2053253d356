"""What is known besides predictions: the hull, the labelled candidates, costs; and beliefs made of all of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from materia import quantities as q
from materia.campaign._database import PickRow
from materia.campaign._dear import DEAR, Dear
from materia.campaign._folder import Campaign
from materia.campaign._labels import BEYOND
from materia.campaign._ladder import seconds_of
from materia.campaign._learning import PoolPredictions
from materia.campaign._phases import competing_energies
from materia.crystal import Crystal, same_phase, structure_hash
from materia.errors import ElementError
from materia.search import Beliefs
from materia.simulation import level_hash
from materia.stability import ExpectedHull, Hull, HullEntry
from materia.sustainability import supply_risk


class Knowledge:
    """Facts about the frozen pool and the phases known at the campaign's level; computed once, kept on disk."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.level = campaign.settings.ladder.own
        self.references = campaign.references
        self._expected: ExpectedHull | None = None

    @cached_property
    def dear(self) -> Dear:
        """What is expected of gaps beyond PBE."""
        return Dear(self.campaign)

    @cached_property
    def labelled(self) -> dict[int, str]:
        """Pool row -> dataset id of candidates that the starting dataset already has at this level.

        An imported energy alone is not all that is wanted: such a candidate is still to be computed.
        """
        digest = level_hash(self.level)
        hull = {q.FORMATION_ENERGY} if q.ENERGY_ABOVE_HULL in self._wanted else set()
        wanted = (self._wanted | hull) & {q.FORMATION_ENERGY, q.GAP_PBE, q.GAP_DIRECT_PBE, *BEYOND}
        by_formula: dict[str, list[Any]] = {}
        for entry in self.campaign.dataset:
            known = {label.quantity for label in entry.labels if label.level_hash == digest}
            if entry.status == "failed" or (known and wanted <= known):
                by_formula.setdefault(entry.formula, []).append(entry)
        pool = self.campaign.pool
        found: dict[int, str] = {}
        for i, formula in enumerate(pool.formulas):
            for entry in by_formula.get(formula, ()):
                if same_phase(pool.crystal(i), entry.initial):
                    found[i] = entry.id
                    break
        return found

    @cached_property
    def costs(self) -> NDArray[np.float64]:
        """(n,) predicted CPU seconds of the whole ladder; kept in ``pool/costs.npy``."""
        return self._kept("costs.npy", lambda: self.rung_costs.sum(1))

    @cached_property
    def rung_costs(self) -> NDArray[np.float64]:
        """(n, rungs) predicted CPU seconds of each rung; kept in ``pool/rung_costs.npy``."""
        pool, seconds = self.campaign.pool, seconds_of(self.campaign.rungs)
        return self._kept("rung_costs.npy", lambda: np.array([seconds(pool.crystal(i)) for i in range(len(pool))]))

    def _kept(self, name: str, make: Callable[[], NDArray[np.float64]]) -> NDArray[np.float64]:
        path = self.campaign.folder / "pool" / name
        if path.is_file():
            kept: NDArray[np.float64] = np.load(path, allow_pickle=False)
            return kept
        found = make()
        temporary = path.with_name(f".{name}.tmp.npy")
        np.save(temporary, found)
        temporary.replace(path)
        return found

    @cached_property
    def eligible(self) -> NDArray[np.bool_]:
        """(n,) whether every quantity the conditions ask for can be known once the candidate is computed: formation
        energies need a reference for each of its elements, supply risks a table entry."""
        wanted = self._wanted
        known: set[str] | None = None
        if {q.FORMATION_ENERGY, q.ENERGY_ABOVE_HULL} & wanted:
            known = set() if self.references is None else set(self.references.elements)
        able = np.array([known is None or known >= set(c) for c in self.campaign.pool.compositions])
        if q.SUPPLY_RISK in wanted:
            able &= np.isfinite(self._risks)
        return able

    @cached_property
    def _risks(self) -> NDArray[np.float64]:
        """(n,) supply risk, NaN where an element is in no table."""
        risks = []
        for composition in self.campaign.pool.compositions:
            try:
                risks.append(supply_risk(composition))
            except ElementError:
                risks.append(np.nan)
        return np.array(risks)

    @property
    def _wanted(self) -> set[str]:
        settings = self.campaign.settings
        return {o.quantity for o in settings.objectives} | {c.quantity for c in settings.constraints}

    def phases(self, *, before_round: int | None = None, of: PickRow | None = None) -> list[tuple[str, Crystal, float]]:
        """(name, structure, formation energy in eV/atom) of the compounds that are known at this level: the dataset's,
        the campaign's own results, and competing phases that are none of both.

        Args:
            before_round: of the campaign, what it computed before this round.
            of: a candidate that is compared: its own competing phases are known whatever its round, and what others
                computed of its very structure is no phase beside it.
        """
        digest = level_hash(self.level)
        labelled = [(entry.id, entry.structure, entry.labels) for entry in self.campaign.dataset.computed]
        for row in self.campaign.database.picks():
            known = before_round is None or row.pick.round < before_round
            if known and row.pick.labelled:
                labelled.append((row.pick.candidate_id, row.structure, row.pick.labels))
        found = [
            (name, structure, label.value)
            for name, structure, labels in labelled
            for label in labels
            if label.quantity == q.FORMATION_ENERGY and label.level_hash == digest
        ]
        alike: dict[str, list[Crystal]] = {}
        for _, structure, _ in [*found, *([] if of is None else [("", of.structure, 0.0)])]:
            alike.setdefault(structure.formula, []).append(structure)

        def counts(name: str, number: int) -> bool:
            return before_round is None or number < before_round or (of is not None and name == of.pick.candidate_id)

        for phase, crystal, energy in competing_energies(self.campaign.database, self.references, wanted=counts):
            others = alike.get(crystal.formula, ())
            if not any(same_phase(phase.crystal, other) or same_phase(crystal, other) for other in others):
                found.append((f"competing/{phase.key}", crystal, energy))
        return sorted(found, key=lambda known: known[0])

    def hull(self, *, before_round: int | None = None, of: PickRow | None = None) -> Hull:
        """Elements and the phases of :meth:`phases`."""
        known = self.phases(before_round=before_round, of=of)
        return Hull([HullEntry(name, structure.composition, energy) for name, structure, energy in known])

    def rivals(self, index: int) -> list[dict[str, Any]]:
        """What a candidate's predicted distance to the hull was last measured from; empty where nothing was, or from
        known phases alone.

        Returns:
            ``name`` (element, phase or candidate), ``share`` of the atoms, ``predicted`` (its energy is), largest share
            first.
        """
        if self._expected is None:
            return []
        ids = [*self.campaign.pool.ids, *(self.campaign.rivals.ids if self.campaign.rivals is not None else ())]
        return [
            {"name": ids[of] if isinstance(of, int) else of, "share": share, "predicted": isinstance(of, int)}
            for of, share in self._expected.rivals(index)
        ]

    @cached_property
    def _rival_hashes(self) -> list[str]:
        rivals = self.campaign.rivals
        return [] if rivals is None else [structure_hash(candidate.crystal) for candidate in rivals.candidates]

    def _expected_hull(
        self, energies: NDArray[np.float64], beside: NDArray[np.float64] | None, known: Hull
    ) -> ExpectedHull:
        """Of the phases that are known, the pool at its predicted energies (n,) and its rivals at theirs, eV/atom."""
        pool, rivals = self.campaign.pool, self.campaign.rivals
        there = {entry.name for entry in known.entries}
        names: list[str | None] = [None] * len(pool)
        for i, name in self.labelled.items():
            names[i] = name if name in there else None
        for row in self.campaign.database.picks():
            if row.pick.candidate_id in there:
                names[row.pick.candidate_index] = row.pick.candidate_id
        if rivals is None or beside is None:
            return ExpectedHull(known, pool.compositions, energies, names=names)
        computed = {
            structure_hash(phase.crystal): name
            for phase, _, _ in competing_energies(self.campaign.database, self.references)
            if (name := f"competing/{phase.key}") in there
        }
        names += [computed.get(digest) for digest in self._rival_hashes] if computed else [None] * len(rivals)
        everyone = [*pool.compositions, *rivals.compositions]
        return ExpectedHull(known, everyone, np.concatenate([energies, beside]), names=names)

    def beliefs(self, predictions: PoolPredictions, *, before_round: int | None = None) -> Beliefs | None:
        """Predicted, derived and exactly known quantities of every candidate; ``None`` without a surrogate.

        Args:
            before_round: the hull holds what the campaign computed before this round, so that a slot filled late
                (in the place of a vetoed pick) sees what the others of its round saw.
        """
        if not predictions.columns:
            return None
        columns, hurdles = dict(predictions.columns), dict(predictions.hurdles)
        wanted = self._wanted
        if q.ENERGY_ABOVE_HULL in wanted and q.FORMATION_ENERGY in columns:
            mean, std = columns[q.FORMATION_ENERGY]
            hull = self.hull(before_round=before_round)
            if self.campaign.settings.expects_hull:
                self._expected = self._expected_hull(mean, predictions.rivals, hull)
                above = self._expected.distances()[: len(mean)]
            else:
                above = mean - hull.hull_energies(self.campaign.pool.compositions)
            columns[q.ENERGY_ABOVE_HULL] = (above, std)
        if q.GAP_PBE in columns:
            earlier = len(self.campaign.database.rounds()) if before_round is None else before_round
            for name in wanted & set(DEAR):
                pbe = hurdles.get(q.GAP_PBE, columns[q.GAP_PBE])
                columns[name], hurdles[name] = self.dear.believed(name, pbe, earlier)
        if q.SUPPLY_RISK in wanted:
            columns[q.SUPPLY_RISK] = (self._risks, np.zeros(len(self._risks)))
        return Beliefs(columns, {name: hurdle for name, hurdle in hurdles.items() if name in columns})
