"""A screen cut into shards: what is to be predicted, one shard of it, and the whole put together again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from materia import files
from materia._version import __version__
from materia.data import Quarantined, source_digest
from materia.errors import ConfigError, DatasetError, ModelError, StorageError
from materia.quantities import Form
from materia.space import scan_structures
from materia.surrogate import Predictions, Surrogate, unsupported

PLAN = "screen.json"
VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")  # order of a tensor's columns
Report = Callable[[int, int], None]  # structures done, of how many


class Plan(BaseModel):
    """What a screen predicts, and with what. Written before anything is predicted.

    Attributes:
        model: model folder; weights_sha256: of its weights.
        structures: Parquet file of structures; structures_sha256: of its content.
        sources_sha256: of what was asked for: the pool, or the user's files.
        n: rows of that file.
        chunk: structures predicted at once. Shards are made of whole chunks, so that a structure is predicted
            with the same others however many shards there are, which fixes the last bits.
        bounds: first row of each shard, and n.
        n_unreadable: structures set aside before, in ``quarantine.jsonl``.
        compiled: whether the networks are compiled, which changes the last bits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    model: str
    weights_sha256: str
    structures: str
    structures_sha256: str
    sources_sha256: str
    n: int
    chunk: int
    bounds: tuple[int, ...]
    n_unreadable: int
    compiled: bool = False

    @property
    def shards(self) -> int:
        return len(self.bounds) - 1

    @property
    def identity(self) -> str:
        """Hash of everything (16 hex digits)."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]

    @classmethod
    def read(cls, work: Path) -> Plan | None:
        """The plan in a work folder, or None where there is none.

        Raises:
            ConfigError: it cannot be read.
        """
        try:
            return cls.model_validate_json((work / PLAN).read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise ConfigError(
                f"the plan of the screen cannot be read: {error}", where=work, remedy="remove that folder"
            ) from error

    def write(self, work: Path) -> None:
        files.write_whole(work / PLAN, self.model_dump_json(indent=1) + "\n")


def cut(n: int, chunk: int, shards: int) -> tuple[int, ...]:
    """Bounds of at most ``shards`` shards of whole chunks, as equal as they can be."""
    chunks = -(-n // chunk)
    shards = max(1, min(shards, chunks))
    return tuple(min(n, chunk * (k * chunks // shards)) for k in range(shards + 1))


def shard_files(work: Path, k: int) -> tuple[Path, Path]:
    """Table of a shard, and the note that makes it count."""
    folder = work / "shards"
    return folder / f"{k:05d}.parquet", folder / f"{k:05d}.json"


def shard_note(work: Path, plan: Plan, k: int) -> dict[str, Any] | None:
    """What a finished shard says of itself; None where it is not finished, damaged or of another plan."""
    table, note = shard_files(work, k)
    try:
        said: dict[str, Any] = json.loads(note.read_text())
        if said["identity"] == plan.identity and said["sha256"] == source_digest(table):
            return said
    except (OSError, ValueError, KeyError, TypeError, DatasetError):
        return None
    return None


def missing_shards(work: Path, plan: Plan) -> list[int]:
    return [k for k in range(plan.shards) if shard_note(work, plan, k) is None]


def predict_shard(
    work: Path, k: int, *, device: str = "auto", threads: int = 1, report: Report | None = None
) -> dict[str, Any]:
    """Predict one shard and publish it; one that is finished is left as it is.

    Returns:
        its note: rows, quarantined structures, digest.

    Raises:
        ModelError: the model is not the one of the plan.
        SpaceError: the structures cannot be read.
        StorageError: the shard cannot be written.
    """
    import polars as pl

    plan = Plan.read(work)
    if plan is None:
        raise ConfigError("there is no screen here", where=work)
    known = shard_note(work, plan, k)
    if known is not None:
        return known
    if source_digest(plan.structures) != plan.structures_sha256:
        raise ConfigError(
            "the pool has changed since the screen was started", where=plan.structures, remedy=f"remove {work}"
        )
    surrogate = Surrogate.load(plan.model, device=device, n_threads=threads, compiled=plan.compiled)
    if surrogate.card["weights_sha256"] != plan.weights_sha256:
        raise ModelError(
            "the model has changed since the screen was started", where=plan.model, remedy="screen into another file"
        )
    parts: list[pl.DataFrame] = []
    quarantine: list[Quarantined] = []
    for start in range(plan.bounds[k], plan.bounds[k + 1], plan.chunk):
        stop = min(start + plan.chunk, plan.bounds[k + 1])
        part, bad = _predict(surrogate, Path(plan.structures), start, stop)
        parts.append(part)
        quarantine += bad
        if report is not None:
            report(stop - plan.bounds[k], plan.bounds[k + 1] - plan.bounds[k])
    table, note = shard_files(work, k)
    try:
        table.parent.mkdir(parents=True, exist_ok=True)
        partial = table.with_suffix(".partial")
        pl.concat(parts).write_parquet(partial)
        partial.replace(table)
    except OSError as error:
        raise _unwritable(table, error) from error
    said = {
        "identity": plan.identity,
        "shard": k,
        "n": sum(len(part) for part in parts),
        "quarantine": [{"place": q.place, "id": q.id, "reason": q.reason} for q in quarantine],
        "sha256": source_digest(table),
    }
    files.write_whole(note, json.dumps(said) + "\n")
    return said


def _predict(surrogate: Surrogate, file: Path, start: int, stop: int) -> tuple[Any, list[Quarantined]]:
    """Table of predictions for a chunk, and what of it cannot be predicted."""
    import numpy as np
    import polars as pl

    ids, crystals, quarantine = [], [], []
    for row, (name, found) in enumerate(scan_structures(file, start, stop), start):
        reason = found if isinstance(found, str) else unsupported(found)
        if isinstance(found, str) or reason:
            quarantine.append(Quarantined(f"row {row}", reason, name))
        else:
            ids.append(name)
            crystals.append(found)
    predicted = surrogate.predict(crystals)
    columns: dict[str, Any] = {"id": ids, "formula": [c.formula for c in crystals]}
    finite = np.ones(len(crystals), dtype=bool)
    for target in predicted.targets:
        said = _columns(predicted, target)
        finite &= np.all([np.isfinite(column) for column in said.values()], axis=0)
        columns |= said
    columns["remoteness"] = surrogate.remoteness(predicted)
    columns["out_of_domain"] = ~predicted.in_domain
    quarantine += [
        Quarantined("prediction", "the prediction is not a finite number", ids[i]) for i in np.flatnonzero(~finite)
    ]
    table = pl.DataFrame(columns, schema_overrides={"id": pl.String, "formula": pl.String})
    return table.filter(pl.Series(finite)), quarantine


def _columns(predicted: Predictions, target: str) -> dict[str, Any]:
    """Columns of one quantity: mean and interval, a class' probability, moreover a tensor's components."""
    mean, _ = predicted.column(target)
    if predicted.form(target) is Form.CLASS:
        return {f"{target}_probability": mean}
    lower, upper = predicted.interval(target)
    columns = {f"{target}_mean": mean, f"{target}_lower": lower, f"{target}_upper": upper}
    if predicted.form(target) is Form.TENSOR:
        tensor = predicted.tensors[target]
        for name in VOIGT:
            i, j = ("xyz".index(axis) for axis in name)
            columns[f"{target}_{name}"] = tensor[:, i, j]
    return columns


def merge(work: Path, out: Path, why: Mapping[int, str] | None = None) -> dict[str, Any]:
    """Put the shards together in ``out``, in the order of the structures; what comes beside it is there first.

    Args:
        why: reasons, by shard, why it is not there.

    Raises:
        DatasetError: a shard is missing or damaged.
        StorageError: the result cannot be written.
    """
    import polars as pl

    plan = Plan.read(work)
    if plan is None:
        raise ConfigError("there is no screen here", where=work)
    absent = missing_shards(work, plan)
    if absent:
        said = "; ".join(f"shard {k}: {(why or {}).get(k, 'not finished')}" for k in absent[:5])
        raise DatasetError(
            f"{len(absent)} of {plan.shards} shards are missing: {said}",
            where=work,
            remedy="the same command computes those that are missing, and only those",
        )
    notes = [shard_note(work, plan, k) or {} for k in range(plan.shards)]
    bad = [json.loads(line) for line in (work / "quarantine.jsonl").read_text().splitlines()]
    bad += [row for note in notes for row in note["quarantine"]]
    surrogate = Surrogate.load(plan.model)
    try:
        partial = out.with_name(f".{out.name}.partial")
        pl.scan_parquet([shard_files(work, k)[0] for k in range(plan.shards)]).sink_parquet(partial)
        n, strange = pl.scan_parquet(partial).select(pl.len(), pl.col("out_of_domain").sum()).collect().row(0)
        remote = pl.scan_parquet(partial).group_by("formula").agg(pl.col("remoteness").mean()).sort("formula").collect()
        moved = surrogate.drift(remote["remoteness"].to_numpy(), remote["formula"].to_list())
        card = {
            "version": 1,
            "file": out.name,
            "sha256": source_digest(partial),
            "sources_sha256": plan.sources_sha256,
            "weights_sha256": plan.weights_sha256,
            "model": plan.model,
            "n": n,
            "n_out_of_domain": strange,
            "n_quarantined": len(bad),
            "drift": moved.to_json(),
            "shards": plan.shards,
            "quantities": {q.name: {"unit": q.unit, "title": q.title, "form": q.form} for q in surrogate.quantities},
            "interval": 0.9,
            "versions": {"materia": __version__},
        }
        files.write_whole(quarantine_of(out), "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in bad))
        files.write_whole(card_of(out), json.dumps(card, indent=1, ensure_ascii=False) + "\n")
        partial.replace(out)
    except OSError as error:
        raise _unwritable(out, error) from error
    shutil.rmtree(work, ignore_errors=True)
    return card


def card_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.json")


def quarantine_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.quarantine.jsonl")


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot be written: {error.strerror or error}",
        where=path,
        remedy="free space or choose a folder you may write; then start again, nothing is lost",
    )
