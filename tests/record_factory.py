"""A realistic campaign, written to a folder and as a CampaignRecord, for tests of what reads it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase.build import bulk
from ase.spacegroup import crystal as spacegroup_crystal

from materia.crystal import Crystal
from materia.record import (
    AttemptRecord,
    CampaignRecord,
    JobRecord,
    Label,
    Outcome,
    OutcomeKind,
    Pick,
    PickState,
    Resources,
    Round,
    to_json,
)

LEVEL_HASH = "5f0c1d2e3a4b"
GAP_WINDOW = (0.7, 1.6)
ASKED = Resources(cores=1, memory_mb=1536, walltime_s=640)
NODE = {
    "name": "local node1",
    "cores": 8,
    "memory_mb": 32_000,
    "energy": {"node_power_w": 200.0, "pue": 1.2, "co2e_kg_per_kwh": 0.25},
}


@dataclass(frozen=True)
class _K:
    """A made-up but plausible compound: PBE-like gap (eV), formation energy and hull distance (eV/atom)."""

    id: str
    crystal: Crystal
    prototype: str
    gap: float
    formation: float
    hull: float
    risk: float


def _zincblende(first: str, second: str, a: float) -> Crystal:
    return Crystal.from_ase(bulk(first + second, "zincblende", a=a))


def _rocksalt(first: str, second: str, a: float) -> Crystal:
    return Crystal.from_ase(bulk(first + second, "rocksalt", a=a))


def _anti(anion: str, cation: str, a: float) -> Crystal:
    return Crystal.from_ase(bulk(f"{anion}{cation}2", "fluorite", a=a))


def _wurtzite(first: str, second: str, a: float, c: float) -> Crystal:
    return Crystal.from_ase(bulk(first + second, "wurtzite", a=a, c=c))


def _chalco(first: str, second: str, anion: str, a: float) -> Crystal:
    return Crystal.from_ase(
        spacegroup_crystal(
            (first, second, anion),
            [(0, 0, 0), (0, 0, 0.5), (0.25, 0.25, 0.125)],
            spacegroup=122,
            cellpar=[a, a, 2 * a, 90, 90, 90],
            primitive_cell=True,
        )
    )


def _perovskite(a_site: str, b_site: str, anion: str, a: float) -> Crystal:
    return Crystal.from_species(
        np.eye(3) * a,
        [a_site, b_site, anion, anion, anion],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    )


def _heusler(first: str, second: str, third: str, a: float) -> Crystal:
    fcc = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]) * a
    return Crystal.from_species(fcc, [first, second, third], [[0, 0, 0], [0.25] * 3, [0.5] * 3])


def _known() -> list[_K]:
    return [
        _K("AlSb-zincblende", _zincblende("Al", "Sb", 6.22), "zincblende", 1.23, -0.17, 0.000, 0.34),
        _K("ZnTe-zincblende", _zincblende("Zn", "Te", 6.18), "zincblende", 1.07, -0.44, 0.000, 0.22),
        _K("Mg2Si-antifluorite", _anti("Si", "Mg", 6.36), "antifluorite", 0.22, -0.20, 0.000, 0.41),
        _K("Mg2Ge-antifluorite", _anti("Ge", "Mg", 6.42), "antifluorite", 0.17, -0.26, 0.004, 0.47),
        _K("ZnSe-wurtzite", _wurtzite("Zn", "Se", 4.04, 6.63), "wurtzite", 1.19, -0.71, 0.006, 0.21),
        _K(
            "CuAlSe2-chalcopyrite",
            _chalco("Cu", "Al", "Se", 5.68),
            "chalcopyrite",
            0.92,
            -0.60,
            0.0,
            0.21,
        ),
        _K("CaS-rocksalt", _rocksalt("Ca", "S", 5.72), "rocksalt", 2.39, -2.31, 0.000, 0.16),
        _K("SrTe-rocksalt", _rocksalt("Sr", "Te", 6.73), "rocksalt", 1.74, -1.77, 0.000, 0.24),
        _K(
            "CsSnCl3-perovskite",
            _perovskite("Cs", "Sn", "Cl", 5.61),
            "perovskite",
            0.97,
            -1.48,
            0.041,
            0.28,
        ),
        _K(
            "LiZnP-half-heusler",
            _heusler("Li", "P", "Zn", 5.77),
            "half-Heusler",
            1.35,
            -0.55,
            0.012,
            0.33,
        ),
        _K(
            "NaZnP-half-heusler",
            _heusler("Na", "P", "Zn", 6.15),
            "half-Heusler",
            0.71,
            -0.41,
            0.081,
            0.29,
        ),
        _K(
            "BaSnO3-perovskite",
            _perovskite("Ba", "Sn", "O", 4.19),
            "perovskite",
            0.42,
            -2.40,
            0.0,
            0.33,
        ),
        _K("MgTe-zincblende", _zincblende("Mg", "Te", 6.52), "zincblende", 2.31, -0.92, 0.003, 0.41),
        _K(
            "KSnI3-perovskite",
            _perovskite("K", "Sn", "I", 6.23),
            "perovskite",
            0.48,
            -0.86,
            0.112,
            0.31,
        ),
        _K(
            "CuGaS2-chalcopyrite",
            _chalco("Cu", "Ga", "S", 5.39),
            "chalcopyrite",
            0.76,
            -0.62,
            0.0,
            0.35,
        ),
        _K("GaN-zincblende", _zincblende("Ga", "N", 4.55), "zincblende", 1.61, -0.47, 0.008, 0.43),
    ]


def settings() -> dict[str, Any]:
    """What campaign.yaml says in the factory's campaign."""
    return {
        "version": 1,
        "name": "absorbers",
        "seed": 7,
        "space": {"prototypes": ["zincblende", "wurtzite", "rocksalt"], "exclude_toxic": True},
        "objectives": [
            {"quantity": "gap_pbe", "window": list(GAP_WINDOW)},
            {"quantity": "energy_above_hull", "goal": "minimize"},
            {"quantity": "supply_risk", "goal": "minimize"},
        ],
        "constraints": [{"quantity": "energy_above_hull", "below": 0.1}],
        "surrogate": {"channels": 32, "members": 4, "epochs": 60},
        "search": {"batch": 4, "rounds": 3},
        "ladder": {"level": "standard", "recipes": ["relax", "gap"]},
        "compute": {"backend": "local", "cores": 2},
        "tracking": {"uri": None},
    }


def make_record(
    folder: Path,
    *,
    n_rounds: int = 3,
    state: str = "finished",
    evil: str | None = None,
    surrogate: Path | None = None,
) -> CampaignRecord:
    """A campaign of ``n_rounds`` rounds of four picks in ``folder``.

    One pick of each round after the first fails. In a running campaign the last round is open and its
    last two picks are pending.

    Args:
        folder: made if missing; holds campaign.yaml, pool/, models/, jobs/, ranking.json.
        n_rounds: 0 to 3; 0 is a campaign that has only just started.
        state: ``running`` or ``finished``.
        evil: id given to one candidate, to test that ids cannot break a page or a store.
        surrogate: a real trained surrogate, copied to models/ROUND instead of the made-up card.
    """
    rng = np.random.default_rng(11)
    known = _known()
    if evil is not None:
        first = known[0]
        known[0] = _K(evil, first.crystal, evil, first.gap, first.formation, first.hull, first.risk)
    picks, jobs, rows = [], [], []
    for number in range(n_rounds):
        for slot in range(4):
            material = known[4 * number + slot]
            pending = state == "running" and number == n_rounds - 1 and slot >= 2
            failed = not pending and number > 0 and slot == 3
            pick = _pick(material, number, slot, pending, failed, rng)
            picks.append(pick)
            jobs += _jobs(material, pending, failed, rng)
            if not pending:
                rows.append(_row(material, pick))
    rows += [_row(material, None) for material in known[12:]]
    rows.sort(key=lambda r: (r["status"] == "failed", not r["hit"], -r["probability"]))
    for rank, row in enumerate(rows, start=1):
        row["rank"] = rank
    rounds = tuple(
        Round(
            number=n,
            state="open" if state == "running" and n == n_rounds - 1 else "closed",
            n_labelled=124 + 4 * n,
            metrics={"gap_pbe_mae": 0.41 - 0.04 * n, "formation_energy_per_atom_mae": 0.083 - 0.006 * n},
            picks=tuple(p for p in picks if p.round == n),
        )
        for n in range(n_rounds)
    )
    record = CampaignRecord(
        folder=folder,
        name="absorbers",
        state=state,
        settings=settings(),
        meta={
            "started": "2026-03-02T09:14:03+00:00",
            "finished": "2026-03-02T09:31:40+00:00" if state == "finished" else None,
            "versions": {"materia": "0.1.0", "gpaw": "26.7.0", "torch": "2.13.0", "optuna": "4.6.0"},
            "digests": {"settings": "9d1f3c", "dataset": "c0ffee12", "level": LEVEL_HASH},
            "node": NODE,
            "level": {"name": "standard", "hash": LEVEL_HASH, "functional": "PBE", "cutoff_ev": 800},
        },
        rounds=rounds,
        jobs=tuple(jobs),
        pool={
            "hash": "3be1a8c07d1f6a2e",
            "n": 5412,
            "funnel": [
                {"step": "generated", "n": 18240},
                {"step": "charge-balanced", "n": 9133},
                {"step": "no toxic elements", "n": 6204},
                {"step": "distinct", "n": 5412},
            ],
            "too_costly": 1730,
        },
        ranking=rows,
        models=[_card(n, rng) for n in range(n_rounds)],
        dataset={
            "name": "materia-standard",
            "digest": "c0ffee" * 10,
            "n": 124,
            "card": {"licence": "CC-BY-4.0"},
        },
    )
    _write(record, surrogate)
    return record


def _prediction(material: _K, rng: np.random.Generator) -> dict[str, dict[str, float]]:
    gap_std, formation_std = rng.uniform(0.15, 0.45), rng.uniform(0.03, 0.1)
    return {
        "gap_pbe": {"mean": max(0.0, material.gap + rng.normal(0, gap_std)), "std": gap_std},
        "formation_energy_per_atom": {
            "mean": material.formation + rng.normal(0, formation_std),
            "std": formation_std,
        },
        "energy_above_hull": {"mean": material.hull + rng.normal(0, formation_std), "std": formation_std},
    }


def _labels(material: _K) -> tuple[Label, ...]:
    values = {"gap_pbe": material.gap, "formation_energy_per_atom": material.formation}
    return tuple(Label(q, v, "PBE", "standard", LEVEL_HASH, f"job-{material.id}") for q, v in values.items())


def _is_hit(material: _K) -> bool:
    return GAP_WINDOW[0] <= material.gap <= GAP_WINDOW[1] and material.hull <= 0.1


def _pick(material: _K, number: int, slot: int, pending: bool, failed: bool, rng: np.random.Generator) -> Pick:
    state = PickState.PENDING if pending else PickState.FAILED if failed else PickState.COMPUTED
    return Pick(
        round=number,
        slot=slot,
        candidate_id=material.id,
        candidate_index=97 * number + 13 * slot,
        trial_number=4 * number + slot,
        predictions=_prediction(material, rng),
        score={"hit_probability": 0.7 - 0.1 * slot, "diversity": 0.11, "total": 0.81 - 0.1 * slot},
        state=state,
        reason="scf_not_converged" if failed else "",
        labels=_labels(material) if state is PickState.COMPUTED else (),
    )


def _jobs(material: _K, pending: bool, failed: bool, rng: np.random.Generator) -> list[JobRecord]:
    jobs = []
    for recipe in ("relax", "gap"):
        key = hashlib.sha256(f"{material.id}/{recipe}".encode()).hexdigest()[:16]
        name, estimate = f"{material.id}/{recipe}", float(rng.uniform(20, 90))
        features = {"n_atoms": float(material.crystal.n_atoms), "estimate_s": estimate, "predicted_s": 1.1 * estimate}
        features |= {"estimate_mb": 160.0, "predicted_mb": 170.0, "learned_from": 12.0}
        family = f"{recipe} gpaw"
        if pending:
            asked = (AttemptRecord(1, ASKED),)
            jobs.append(JobRecord(key, name, "running", 1, features, family=family, runs=asked))
            break
        wall = estimate * float(rng.uniform(0.6, 1.5))
        if failed:
            message = f"the density of {material.crystal.formula} did not converge in 120 steps"
            outcome = Outcome(
                key, OutcomeKind.FAILED, reason="scf_not_converged", message=message, wall_s=wall, cpu_s=wall
            )
            runs = (_attempt(1, OutcomeKind.CRASHED, wall / 2), _attempt(2, OutcomeKind.FAILED, wall))
            jobs.append(JobRecord(key, name, "failed", 2, features, outcome, family, runs))
            break
        provenance = {"engine": "gpaw", "versions": {"gpaw": "26.7.0"}, "host": "node1"}
        values = {"gap_pbe": material.gap} if recipe == "gap" else {"energy_per_atom": -4.2}
        outcome = Outcome(key, OutcomeKind.COMPLETED, values=values, provenance=provenance, wall_s=wall, cpu_s=wall)
        runs = (_attempt(1, OutcomeKind.COMPLETED, wall),)
        jobs.append(JobRecord(key, name, "completed", 1, features, outcome, family, runs))
    return jobs


def _attempt(number: int, kind: OutcomeKind, wall_s: float) -> AttemptRecord:
    granted = {"cores": 1, "memory_mb": 1536}
    return AttemptRecord(number, ASKED, kind, wall_s, 0.9 * wall_s, 180.0, granted, "local node1")


def _row(material: _K, pick: Pick | None) -> dict[str, Any]:
    failed = pick is not None and pick.state is PickState.FAILED
    values = {"supply_risk": material.risk}
    if not failed:
        values |= {
            "gap_pbe": material.gap,
            "formation_energy_per_atom": material.formation,
            "energy_above_hull": material.hull,
        }
    return {
        "rank": 0,
        "candidate_id": material.id,
        "formula": material.crystal.formula,
        "prototype": material.prototype,
        "status": "failed" if failed else "labelled" if pick is None else "computed",
        "hit": not failed and _is_hit(material),
        "values": values,
        "predictions": {} if pick is None else {q: dict(p) for q, p in pick.predictions.items()},
        "round": None if pick is None else pick.round,
        "probability": 0.0 if failed else 1.0 if _is_hit(material) else 0.2,
        "structure": material.crystal.to_record(),
        "reason": pick.reason if failed and pick is not None else "",
    }


def _card(number: int, rng: np.random.Generator) -> dict[str, Any]:
    n = 124 + 4 * number
    parity, validation = {}, {}
    for quantity, low, high, noise in (
        ("formation_energy_per_atom", -2.6, 0.1, 0.1 - 0.01 * number),
        ("gap_pbe", 0.0, 5.0, 0.5 - 0.05 * number),
    ):
        observed = rng.uniform(low, high, n)
        std = rng.uniform(0.6, 1.5, n) * noise
        predicted = observed + rng.normal(0, 1, n) * std
        error = predicted - observed
        parity[quantity] = {
            "observed": observed.tolist(),
            "predicted": predicted.tolist(),
            "std": std.tolist(),
        }
        validation[quantity] = {
            "mae": float(np.abs(error).mean()),
            "rmse": float(np.sqrt((error**2).mean())),
            "coverage_90": float((np.abs(error) < 1.645 * std).mean()),
            "n": n,
        }
    return {
        "targets": ["formation_energy_per_atom", "gap_pbe"],
        "n_train": n,
        "settings": {"channels": 32, "members": 4},
        "versions": {"torch": "2.13.0", "materia": "0.1.0"},
        "data_digest": f"d{number}" * 16,
        "validation": validation,
        "parity": parity,
    }


def _write(record: CampaignRecord, surrogate: Path | None) -> None:
    folder = record.folder
    (folder / "pool").mkdir(parents=True, exist_ok=True)
    (folder / "campaign.yaml").write_text(yaml.safe_dump(dict(record.settings), sort_keys=False))
    (folder / "pool" / "pool.json").write_text(json.dumps(record.pool))
    (folder / "ranking.json").write_text(json.dumps(to_json(record.ranking)))
    for number, card in enumerate(record.models):
        target = folder / "models" / str(number)
        target.mkdir(parents=True, exist_ok=True)
        if surrogate is None:
            (target / "card.json").write_text(json.dumps(card))
            continue
        for source in surrogate.iterdir():
            (target / source.name).write_bytes(source.read_bytes())
