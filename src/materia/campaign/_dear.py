"""Gaps beyond PBE as a campaign expects them, from PBE gaps that are known or predicted."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from materia import quantities as q
from materia.campaign._folder import Campaign
from materia.crystal import Crystal
from materia.record import PickState
from materia.search import DearGaps, GapMap, Hurdle, composition_features, spin_orbit_closing
from materia.simulation import level_hash

DEAR = (q.GAP_HSE06_ON_PBE, q.GAP_HSE06_SOC_ON_PBE)

Column = tuple[NDArray[np.float64], NDArray[np.float64]]


class Dear:
    """The map from PBE to HSE06 as it ships, held against the pairs of gaps that the campaign and its dataset know."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign, self.digest = campaign, level_hash(campaign.settings.ladder.own)
        self._maps: dict[tuple[str, int], GapMap] = {}
        self._off: dict[tuple[str, int], Column | None] = {}

    def believed(self, name: str, pbe: Column | Hurdle, before_round: int) -> tuple[Column, Hurdle]:
        """(n,) mean and (n,) standard deviation of a dear gap for all candidates of the pool, and its hurdle.

        Args:
            name: one of ``DEAR``.
            pbe: what is believed of the PBE gap: mean and standard deviation, or a hurdle.
            before_round: what later picks found is not used.
        """
        found, closing, blur, off = self._of_pool(name, before_round)
        return found.uncertain(self._pool_features, pbe, closing, blur, off)

    def in_pool(self, name: str, gap_pbe: NDArray[np.float64], before_round: int) -> DearGaps:
        """What would be believed of all candidates if their PBE gaps (n,) were computed; arguments as above."""
        found, closing, blur, off = self._of_pool(name, before_round)
        return found.predict(self._pool_features, gap_pbe, closing, blur, off=off)

    def _of_pool(
        self, name: str, before_round: int
    ) -> tuple[GapMap, NDArray[np.float64] | float, NDArray[np.float64] | float, Column | None]:
        """The map, and what it takes besides PBE gaps to ask it about the pool: what spin-orbit coupling takes, how
        uncertain that is, and what the map is off by, which is worked out once a round."""
        found, asked = self._map(name, before_round), (name, before_round)
        if asked not in self._off:
            self._off[asked] = found.off(self._pool_features)
        closing, blur = self._pool_closing if name == q.GAP_HSE06_SOC_ON_PBE else (0.0, 0.0)
        return found, closing, blur, self._off[asked]

    def expected(
        self, name: str, crystal: Crystal, gap_pbe: float, overlap: float | None, before_round: int
    ) -> DearGaps:
        """What is believed of one crystal's dear gap once its PBE gap, and the overlap of its bands unless that is None
        (eV), are computed; arguments as above."""
        closing, blur = _closing(name, [crystal])
        gap, below = np.array([gap_pbe]), None if overlap is None else np.array([overlap])
        return self._map(name, before_round).predict(composition_features([crystal]), gap, closing, blur, below)

    def _map(self, name: str, before_round: int) -> GapMap:
        if (name, before_round) not in self._maps:
            crystals, cheap, dear = self._pairs(name, before_round)
            found = GapMap.shipped()
            if crystals:
                features = composition_features(crystals)
                found = found.recalibrated(features, np.array(cheap), np.array(dear), *_closing(name, crystals))
            self._maps[name, before_round] = found
        return self._maps[name, before_round]

    def _pairs(self, name: str, before_round: int) -> tuple[list[Crystal], list[float], list[float]]:
        """Structures at the campaign's level of which both gaps are known."""
        known = [(entry.structure, entry.labels) for entry in self.campaign.dataset.computed]
        rows = (row for row in self.campaign.database.picks() if row.pick.round < before_round)
        known += [(row.structure, row.pick.labels) for row in rows if row.pick.state is PickState.COMPUTED]
        crystals, cheap, dear = [], [], []
        for crystal, labels in known:
            values = {label.quantity: label.value for label in labels if label.level_hash == self.digest}
            if q.GAP_PBE in values and name in values:
                crystals.append(crystal)
                cheap.append(values[q.GAP_PBE])
                dear.append(values[name])
        return crystals, cheap, dear

    @cached_property
    def _pool_features(self) -> NDArray[np.float32]:
        """(n, 90), worked out once for each formula."""
        pool = self.campaign.pool
        _, first, place = np.unique(np.array(pool.formulas), return_index=True, return_inverse=True)
        return np.asarray(composition_features([pool.crystal(int(i)) for i in first])[place])

    @cached_property
    def _pool_closing(self) -> Column:
        return spin_orbit_closing(self.campaign.pool.compositions)


def _closing(name: str, crystals: list[Crystal]) -> Column:
    """What spin-orbit coupling is expected to take, and how uncertain that is; nothing where it is not asked about."""
    if name != q.GAP_HSE06_SOC_ON_PBE:
        return np.zeros(len(crystals)), np.zeros(len(crystals))
    return spin_orbit_closing([crystal.composition for crystal in crystals])
