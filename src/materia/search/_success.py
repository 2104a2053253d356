"""How likely a calculation is to end well, learned from those that did and those that did not.

Failures are not spread evenly: some elements, prototypes and volumes do not converge. A search that drops its failures
runs into the same wall every round; one that multiplies a candidate's value by its chance of success goes where
answers come from.
"""

from __future__ import annotations

import numpy as np

from materia.search._gauss import Floats

LEAST = 5  # of either kind: of fewer, nothing is learned
TREES = 200
_LEAF = 3


def chance_of_success(features: np.ndarray, rows: np.ndarray, ended_well: np.ndarray, seed: int) -> Floats | None:
    """Probability that each candidate's calculation ends well; None while that cannot be told from a constant.

    Extremely randomised trees (Geurts, Ernst & Wehenkel 2006), each grown on a bootstrap sample. What they say of the
    calculations outside of their samples is calibrated by Platt's scaling, so that trees which know nothing end up at
    the share of successes.

    Args:
        features: (n, F) of the pool's candidates, and of others that are only learned from.
        rows: (k,) of the calculations that ended.
        ended_well: (k,) bool.
        seed: fixes every draw.

    Returns:
        (n,) in 0..1; None with fewer than ``LEAST`` calculations of either kind.
    """
    ended_well = np.asarray(ended_well, dtype=bool)
    if min(int(ended_well.sum()), int((~ended_well).sum())) < LEAST:
        return None
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.linear_model import LogisticRegression

    trees = ExtraTreesClassifier(
        TREES, max_features="sqrt", min_samples_leaf=_LEAF, bootstrap=True, oob_score=True, random_state=seed, n_jobs=1
    )
    trees.fit(features[rows], ended_well)
    platt = LogisticRegression()  # its weak penalty draws the slope to 0, which is the share of successes
    platt.fit(_logit(trees.oob_decision_function_[:, 1]), ended_well)
    chance: Floats = platt.predict_proba(_logit(trees.predict_proba(features)[:, 1]))[:, 1].astype(np.float64)
    return chance


def _logit(share: np.ndarray) -> np.ndarray:
    """(k, 1) logit of the trees' share, kept a tree away from never and always; an even chance where none spoke."""
    p = np.clip(np.nan_to_num(share, nan=0.5), 1 / TREES, 1 - 1 / TREES)
    return np.asarray(np.log(p / (1 - p))[:, None])
