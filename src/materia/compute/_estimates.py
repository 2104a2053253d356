"""What jobs will take, learned from jobs that have ended: seconds and memory, and how much of each to ask for.

A job brings its own forecast (``estimate_s``, ``estimate_mb`` among its features) and a cautious request
(``resources``). What is learned is the factor between forecast and use, per family of jobs: a Bayesian linear
regression of log(used / forecast) on the logarithms of the features, with the conjugate normal-inverse-gamma prior
(Gelman et al., Bayesian Data Analysis, 3rd ed., section 14.8; O'Hagan and Forster, Bayesian Inference, ch. 11). Its
predictive distribution is a Student t in the logarithm; a high quantile of it is asked for. Until enough jobs of a
family have ended, the cautious request stands.

Attempts that did not complete say only that the job takes at least that much. Those that took less than expected say
next to nothing and are left out; the others enter with the value expected beyond what they took, iterated (Schmee and
Hahn, Technometrics 21 (1979) 417): they can only raise the forecast.

What is asked for is no part of a job's key, and never decides whether it is refused: see :meth:`Estimates.ask`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from materia.compute._retries import Limits
from materia.record import JobSpec, Resources

# The prior, in logarithms. Noise: a factor of e^0.5 = 1.6 either way, worth 4 jobs. The project's own dataset has 1.3
# to 1.5 (tests/compute/test_estimates.py). Standard deviations of the coefficients, in units of the noise:
PRIOR_NOISE: Final = 0.5
PRIOR_JOBS: Final = 4.0
PRIOR_OFFSET: Final = 3.0  # this machine over the forecast's, and elsewhere over here: e^1.5 = 4.5
PRIOR_SLOPE: Final = 0.5  # powers of the features that the forecast lacks: 0.25
ROOM: Final = 2.0  # a forecast within the limits by this factor is worth trying
STEPS: Final = 4  # requests are rounded up to 1, 1.25, 1.5, 1.75 times powers of two, so that jobs share arrays
_FORECASTS: Final = ("estimate_", "predicted_", "learned_")
_ITERATIONS: Final = 100


class EstimateSettings(BaseModel):
    """How much is asked for, once enough jobs have ended to tell."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    learn: bool = Field(default=True, description="false: every job asks for its own cautious request")
    quantile: float = Field(default=0.98, ge=0.5, lt=1, description="share of jobs that are to fit what is asked for")
    min_jobs: int = Field(default=12, ge=3, description="completed jobs of a family before anything is learned from it")
    min_walltime_s: int = Field(default=600, ge=60, description="never less")
    min_memory_mb: int = Field(default=500, ge=100, description="never less")


@dataclass(frozen=True)
class Sample:
    """What is known of a job that ended.

    Attributes:
        key: the job's.
        family: jobs of one family have like costs.
        features: as in its spec.
        cores: it ran on.
        wall_s, peak_mb: seconds and most memory it took; 0 where not known.
        completed: else both are lower bounds.
        here: taken on the machine or site that is to be asked now.
    """

    key: str
    family: str
    features: Mapping[str, float]
    cores: int
    wall_s: float
    peak_mb: float
    completed: bool = True
    here: bool = True


@dataclass(frozen=True)
class Ask:
    """What to ask for.

    Attributes:
        resources: of the scheduler.
        predicted: ``predicted_s``, ``predicted_mb`` (medians) and ``learned_from`` (completed jobs, 0: only the job's
            own forecast), where there is a forecast.
    """

    resources: Resources
    predicted: Mapping[str, float]


class Regression:
    """log(used / forecast) of one family.

    Args:
        rows: (n, k) features; the first column is 1.
        values: (n,) log ratios.
        exact: (n,) whether a value was seen; else it is a lower bound.
        spread: (k,) prior standard deviations of the coefficients in units of the noise.
    """

    def __init__(
        self,
        rows: NDArray[np.float64],
        values: NDArray[np.float64],
        exact: NDArray[np.bool_],
        spread: NDArray[np.float64],
    ) -> None:
        self._spread = spread
        self._fit(rows[exact], values[exact])
        beyond = ~exact & (values > rows @ self.mean)
        if not beyond.any():
            return
        used = exact | beyond
        rows, bounds, censored = rows[used], values[used], beyond[used]
        filled = bounds.copy()
        for _ in range(_ITERATIONS):
            sigma, before = math.sqrt(self.scale), filled.copy()
            place = rows[censored] @ self.mean
            ratio = np.array([_inverse_mills(z) for z in (bounds[censored] - place) / sigma])
            filled[censored] = place + sigma * ratio
            self._fit(rows, filled)
            if np.abs(filled - before).max() < 1e-6:
                break

    def _fit(self, rows: NDArray[np.float64], values: NDArray[np.float64]) -> None:
        """Posterior: coefficients N(mean, scale inverse), noise variance ``scale`` with ``freedom`` degrees."""
        precision = np.diag(1 / self._spread**2) + rows.T @ rows
        self.inverse = np.linalg.inv(precision)
        self.mean = self.inverse @ (rows.T @ values)
        self.freedom = PRIOR_JOBS + len(values)
        left = float(values @ values - self.mean @ precision @ self.mean)
        self.scale = (PRIOR_JOBS * PRIOR_NOISE**2 + max(0.0, left)) / self.freedom
        leverage = np.einsum("ij,jk,ik->i", rows, self.inverse, rows)
        # what each would have been off by, had it not been fitted to, over the width it would have been given
        self.residuals = np.sort((values - rows @ self.mean) / np.sqrt(self.scale * (1 - leverage)))

    def median(self, row: NDArray[np.float64]) -> float:
        """Median of the predictive distribution at a row (k,)."""
        return float(row @ self.mean)

    def upper(self, row: NDArray[np.float64], share: float) -> float:
        """What a share of the jobs at a row (k,) stays below: the predictive quantile, or what the jobs seen so far
        stayed below, in units of their predictive width, where that is more. Busy machines have heavier tails than a
        Student t."""
        place = math.ceil((len(self.residuals) + 1) * share) - 1
        seen = float(self.residuals[min(place, len(self.residuals) - 1)])
        width = math.sqrt(self.scale * (1 + float(row @ self.inverse @ row)))
        return self.median(row) + width * max(t_quantile(share, self.freedom), seen)


class Estimates:
    """What to ask for, as learned from ``samples``. The order of the samples changes nothing.

    Args:
        samples: of jobs that ended. One of several with one key counts: a completed one before others, one taken
            here before one from elsewhere.
        settings: how cautious to be.
    """

    def __init__(self, samples: Iterable[Sample], settings: EstimateSettings | None = None) -> None:
        self.settings = settings or EstimateSettings()
        best: dict[str, Sample] = {}
        for sample in sorted(samples, key=lambda s: (s.key, not s.completed, not s.here, -s.wall_s, -s.peak_mb)):
            best.setdefault(sample.key, sample)
        families: dict[str, list[Sample]] = {}
        for sample in best.values():
            families.setdefault(sample.family, []).append(sample)
        self._families = {name: _Family(found, self.settings) for name, found in families.items() if name}

    def ask(self, spec: JobSpec, limits: Limits | None = None) -> Ask:
        """What to ask for a job.

        A job whose own request is over the limits, but whose forecast is well within them, asks for the limit. One
        whose forecast is over them keeps its request, which will be refused: that depends on the job and the site
        alone, never on what was learned.
        """
        limits = limits or Limits()
        cautious = spec.resources
        time_s = spec.features.get("estimate_s", 0.0) / cautious.cores
        predicted = {"predicted_s": time_s, "predicted_mb": spec.features.get("estimate_mb", 0.0)}
        if limits.walltime_s is not None and cautious.walltime_s > limits.walltime_s:
            if time_s <= 0 or time_s * ROOM > limits.walltime_s:
                return Ask(cautious, _told(predicted, 0))
            cautious = dataclasses.replace(cautious, walltime_s=limits.walltime_s)
        family = self._families.get(spec.family)
        if not self.settings.learn or family is None or (family.time is None and family.memory is None):
            return Ask(cautious, _told(predicted, 0))
        asked, settings, row = cautious, self.settings, family.row(spec.features, cautious.cores)
        if family.time is not None and time_s > 0:
            predicted["predicted_s"] = time_s * math.exp(family.time.median(row))
            seconds = time_s * math.exp(family.time.upper(row, settings.quantile))
            seconds = _capped(max(seconds, settings.min_walltime_s), limits.walltime_s)
            asked = dataclasses.replace(asked, walltime_s=seconds)
        if family.memory is not None and predicted["predicted_mb"] > 0:
            forecast = predicted["predicted_mb"]
            predicted["predicted_mb"] = forecast * math.exp(family.memory.median(row))
            memory = forecast * math.exp(family.memory.upper(row, settings.quantile))
            fits = limits.memory_mb is None or cautious.memory_mb <= limits.memory_mb
            memory = _capped(max(memory, settings.min_memory_mb), limits.memory_mb)
            asked = dataclasses.replace(asked, memory_mb=memory if fits else cautious.memory_mb)
        return Ask(asked, _told(predicted, family.n_completed))


class _Family:
    """The jobs of one family: how their features become rows, and what was learned of time and memory."""

    def __init__(self, samples: Sequence[Sample], settings: EstimateSettings) -> None:
        shared = set.intersection(*({k for k, v in s.features.items() if v > 0} for s in samples))
        self.names = sorted(name for name in shared if not name.startswith(_FORECASTS))
        logs = np.array([[math.log(s.features[name]) for name in self.names] for s in samples])
        self.centre = dict(zip(self.names, logs.mean(axis=0).tolist(), strict=True))
        slopes = [PRIOR_SLOPE] * (len(self.names) + 1)
        self._spread = np.array([PRIOR_OFFSET, PRIOR_OFFSET, *slopes])
        self.n_completed = sum(s.completed for s in samples)
        self.time = self._learned(
            samples, [(s.wall_s * s.cores, s.features.get("estimate_s", 0.0)) for s in samples], settings.min_jobs
        )
        self.memory = self._learned(
            samples, [(s.peak_mb, s.features.get("estimate_mb", 0.0)) for s in samples], settings.min_jobs
        )

    def row(self, features: Mapping[str, float], cores: int, here: bool = True) -> NDArray[np.float64]:
        """(k,) offset, elsewhere, logarithm of cores, logarithms of the features about their mean."""
        logs = [math.log(features[n]) - c if features.get(n, 0.0) > 0 else 0.0 for n, c in self.centre.items()]
        return np.array([1.0, 0.0 if here else 1.0, math.log(cores), *logs])

    def _learned(
        self, samples: Sequence[Sample], pairs: Sequence[tuple[float, float]], enough: int
    ) -> Regression | None:
        known = [(s, used, forecast) for s, (used, forecast) in zip(samples, pairs, strict=True)]
        usable = [(s, used / forecast) for s, used, forecast in known if used > 0 and forecast > 0]
        exact = np.array([s.completed for s, _ in usable], dtype=bool)
        if exact.sum() < enough:
            return None
        rows = np.array([self.row(s.features, s.cores, s.here) for s, _ in usable])
        return Regression(rows, np.log([ratio for _, ratio in usable]), exact, self._spread)


def t_quantile(share: float, freedom: float) -> float:
    """Quantile of Student's t; Abramowitz and Stegun, 26.7.5: good to 0.1 % from 8 degrees of freedom on."""
    z = NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, start=1))


def rounded_up(value: float) -> int:
    """The next of 1, 1.25, 1.5, 1.75 times powers of two, whole."""
    power = 2.0 ** math.floor(math.log2(value))
    return math.ceil(math.ceil(value / power * STEPS - 1e-9) * power / STEPS)


def _capped(value: float, limit: int | None) -> int:
    rounded = rounded_up(value)
    return rounded if limit is None else min(rounded, limit)


def _told(predicted: Mapping[str, float], n: int) -> dict[str, float]:
    return {**{k: v for k, v in predicted.items() if v > 0}, "learned_from": float(n)}


def _inverse_mills(z: float) -> float:
    """E[x | x > z] of a standard normal: its density over its tail, by the tail's leading terms far out."""
    if z > 8:
        return z + 1 / z
    return NormalDist().pdf(z) / (0.5 * math.erfc(z / math.sqrt(2)))
