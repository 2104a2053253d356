"""Predict a pool, here or as an array on a Slurm site; what is done is not done again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from materia import files
from materia.campaign._predict import model_folder
from materia.campaign._shards import (
    Plan,
    Report,
    card_of,
    cut,
    merge,
    missing_shards,
    predict_shard,
    quarantine_of,
)
from materia.compute import DriverLock
from materia.data import Quarantined, read_unlabelled, source_digest
from materia.errors import CampaignLockedError, ConfigError, DatasetError
from materia.record import Resources
from materia.space import count_structures, pool_file, structure_files, write_structures
from materia.surrogate import read_card

CHUNK = 1024
LOCAL_SHARD = 8 * CHUNK  # rows: what a kill here costs at most
SITED_SHARDS = 16


@dataclass(frozen=True)
class Screened:
    """A pool with its predictions.

    Attributes:
        file: Parquet: ``id``, ``formula``, per quantity ``Q_mean``, ``Q_lower``, ``Q_upper`` (90 % interval), and
            ``out_of_domain``; in the order of the pool. Of a class ``Q_probability`` instead; of a tensor these are
            of the mean eigenvalue, and ``Q_xx``, ``Q_yy``, ``Q_zz``, ``Q_yz``, ``Q_xz``, ``Q_xy`` come with them.
        card: counts, digests, units.
    """

    file: Path
    card: Mapping[str, Any]

    @property
    def quarantine(self) -> list[dict[str, str]]:
        """Structures that could not be predicted: ``place``, ``id``, ``reason``."""
        return [json.loads(line) for line in quarantine_of(self.file).read_text().splitlines()]

    def to_json(self) -> dict[str, Any]:
        return {**self.card, "file": str(self.file), "quarantine": self.quarantine[:100]}


def screen(
    sources: Sequence[str | Path],
    model: str | Path,
    out: str | Path,
    *,
    site: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    shards: int | None = None,
    chunk: int = CHUNK,
    device: str = "auto",
    resources: Resources | None = None,
    compiled: bool = False,
    report: Report | None = None,
) -> Screened:
    """Predict every structure of a pool or of files; the same call goes on where one was cut off.

    Args:
        sources: one pool (its folder, a campaign's, or the Parquet file), or files and folders of structures.
        model: model folder, or campaign folder (its last model is used).
        out: Parquet file to write; ``OUT.json`` and ``OUT.quarantine.jsonl`` come beside it.
        site: Slurm site: the shards run there as one array.
        overrides: entries of the site profile to replace.
        shards: into how many the pool is cut.
        chunk: structures predicted at once; a memory limit, and what shards are made of.
        device: ``auto``, ``cpu`` or ``cuda``.
        resources: on a site, of one shard.
        compiled: compile the networks, which pays off from some ten thousand structures on.
        report: called with structures done and their number.

    Raises:
        ConfigError: ``out`` holds something else, or a screen of something else is under way there.
        ModelError: the model cannot be used.
        SpaceError: the pool cannot be read, or there is nothing to predict.
        DatasetError: shards failed; says which and why.
    """
    out = Path(out).absolute()
    if out.suffix != ".parquet":
        raise ConfigError(f"the result is a Parquet file, not {out.name!r}", remedy="name it NAME.parquet")
    folder = model_folder(model).absolute()
    weights, asked = str(read_card(folder)["weights_sha256"]), _sources_digest(sources)
    work = out.with_name(f"{out.name}.work")
    finished = _finished(out, weights, asked)
    if finished is not None:
        shutil.rmtree(work, ignore_errors=True)  # left by a kill just before the end
        return finished
    with _alone(work):
        plan = Plan.read(work)
        if plan is None:
            wanted = shards if shards is not None or site is None else SITED_SHARDS
            plan = _plan(sources, folder, weights, asked, work, wanted, chunk, compiled)
        elif (plan.weights_sha256, plan.sources_sha256) != (weights, asked):
            raise ConfigError(
                "a screen with another model or of other structures is under way here",
                where=work,
                remedy="screen into another file, or remove that folder",
            )
        elif shards is not None and cut(plan.n, plan.chunk, shards) != plan.bounds:
            raise ConfigError(
                f"the screen under way here has {plan.shards} shards, not {shards}",
                where=work,
                remedy="leave --shards out, or remove that folder",
            )
        why: Mapping[int, str] = {}
        if site is not None:
            from materia.campaign._screen_site import run_shards

            why = run_shards(work, plan, site, overrides or {}, resources or Resources(1, 3000, 3600), device, report)
        else:
            _predict_here(work, plan, device, report)
        card = merge(work, out, why)
    return Screened(out, card)


def _finished(out: Path, weights: str, sources: str) -> Screened | None:
    if not out.exists():
        return None
    try:
        card = json.loads(card_of(out).read_text())
        same = (card["weights_sha256"], card["sources_sha256"], card["sha256"]) == (
            weights,
            sources,
            source_digest(out),
        )
    except (OSError, ValueError, KeyError):
        same = False
    if not same:
        raise ConfigError("the file exists and is something else", where=out, remedy="choose another name")
    return Screened(out, card)


@contextlib.contextmanager
def _alone(work: Path) -> Iterator[None]:
    work.mkdir(parents=True, exist_ok=True)
    try:
        with DriverLock(work):
            yield
    except CampaignLockedError as error:
        raise ConfigError(f"another process screens here: {error.what}", where=work, remedy=error.remedy) from error


def _sources_digest(sources: Sequence[str | Path]) -> str:
    if not sources:
        raise ConfigError("nothing is given to predict", remedy="name a pool, or files of structures")
    digest = hashlib.sha256()
    for source in sources:
        pool = pool_file(source)
        for file in structure_files([Path(source)]) if pool is None else [pool]:
            digest.update(source_digest(file).encode())
    return digest.hexdigest()


def _plan(
    sources: Sequence[str | Path],
    folder: Path,
    weights: str,
    asked: str,
    work: Path,
    shards: int | None,
    chunk: int,
    compiled: bool,
) -> Plan:
    """Freeze what is to be predicted, and write down how."""
    pools = [pool_file(source) for source in sources]
    bad: list[Quarantined] = []
    if len(pools) == 1 and pools[0] is not None:
        structures = pools[0].absolute()
    elif any(pools):
        raise ConfigError("several sources, one of them a pool", remedy="screen one pool at a time, or structure files")
    else:
        structures = work / "structures.parquet"
        bad = _freeze([Path(source) for source in sources], structures)
    files.write_whole(
        work / "quarantine.jsonl",
        "".join(json.dumps({"place": q.place, "id": q.id, "reason": q.reason}) + "\n" for q in bad),
    )
    n = count_structures(structures)
    if n == 0:
        first = "".join(f"; {q.place}: {q.reason}" for q in bad[:3])
        raise DatasetError(f"no structure is left to predict, {len(bad)} are quarantined{first}", where=str(sources[0]))
    plan = Plan(
        model=str(folder),
        weights_sha256=weights,
        structures=str(structures),
        structures_sha256=source_digest(structures),
        sources_sha256=asked,
        n=n,
        chunk=chunk,
        bounds=cut(n, chunk, -(-n // LOCAL_SHARD) if shards is None else shards),
        n_unreadable=len(bad),
        compiled=compiled,
    )
    plan.write(work)
    return plan


def _freeze(sources: Sequence[Path], file: Path) -> list[Quarantined]:
    """Write the good structures of all files in order; the bad ones are returned."""
    bad: list[Quarantined] = []
    ids, crystals = [], []
    for path in structure_files(sources):
        found = read_unlabelled(path)
        bad += found.quarantine
        for row in found.rows:
            ids.append(row.id or row.place)
            crystals.append(row.crystal)
    write_structures(file, ids, crystals)
    return bad


def _predict_here(work: Path, plan: Plan, device: str, report: Report | None) -> None:
    missing = missing_shards(work, plan)
    done = plan.n - sum(plan.bounds[k + 1] - plan.bounds[k] for k in missing)
    for k in missing:
        before = done

        def shown(rows: int, _: int, before: int = before) -> None:
            if report is not None:
                report(before + rows, plan.n)

        predict_shard(work, k, device=device, report=shown)
        done += plan.bounds[k + 1] - plan.bounds[k]
