"""What of a campaign goes into which run: record in, run specs out; nothing is written here."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

import yaml

from materia.record import CampaignRecord, JobRecord, Pick, PickState, Round, is_validated, redacted
from materia.tracking._figures import parity_figure, progress_figure
from materia.tracking._spec import DatasetSpec, ModelSpec, RunSpec, flattened

Metrics = list[tuple[str, float, int]]


def campaign_key(record: CampaignRecord) -> str:
    """Identity of a campaign: the same for every copy of its folder, different for another start.

    A record without a start time is told from others by its settings.
    """
    started = record.meta.get("started") or record.settings
    text = json.dumps([record.name, started], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def campaign_run(record: CampaignRecord) -> RunSpec:
    """The parent run."""
    settings = redacted(dict(record.settings))
    metrics = list(_campaign_metrics(record))
    files: dict[str, Any] = {
        "campaign.yaml": yaml.safe_dump(settings, sort_keys=False, allow_unicode=True),
        "meta.json": _json(redacted(dict(record.meta))),
        "pool.json": _json(dict(record.pool)),
        "ranking.json": _table(record.ranking),
        "ranking.csv": _csv(record.ranking),
    }
    if record.rounds:
        files["figures/progress.png"] = lambda: progress_figure(record)
    page = record.folder / "report" / "index.html"
    if page.is_file():
        files["report/index.html"] = page.read_bytes()
    versions, level = record.meta.get("versions", {}), record.meta.get("level", {})
    tags = {
        "materia.campaign": record.name,
        "materia.pool": str(record.pool.get("hash", "")),
        "mlflow.note.content": _note(record),
        "materia.level": " ".join(str(level[k]) for k in ("name", "hash") if k in level),
        "materia.dataset": str(record.dataset.get("digest", "")),
        **{f"materia.version.{name}": str(version) for name, version in versions.items()},
        **{f"materia.digest.{name}": str(digest) for name, digest in record.meta.get("digests", {}).items()},
    }
    return RunSpec(
        key=campaign_key(record),
        name=record.name,
        status="FINISHED" if record.state == "finished" else "RUNNING",
        start_ms=_milliseconds(record.meta.get("started")),
        end_ms=_milliseconds(record.meta.get("finished")),
        tags=tags,
        params=flattened(settings.get("campaign", settings)),
        metrics=tuple(metrics),
        files=files,
        tables=("ranking.json",),
        datasets=_datasets(record),
    )


def round_runs(record: CampaignRecord) -> Iterator[RunSpec]:
    """A child run for each round."""
    for number, round_ in enumerate(record.rounds):
        picks = [_pick_row(p) for p in round_.picks]
        yield RunSpec(
            key=f"{campaign_key(record)}/round/{round_.number}",
            name=f"round {round_.number}",
            status="FINISHED" if round_.state == "closed" else "RUNNING",
            tags={"materia.campaign": record.name, "materia.kind": "round"},
            params={"round": str(round_.number), "picks": str(len(round_.picks))},
            metrics=tuple((name, value, 0) for name, value, _ in _round_metrics(record, number, round_)),
            files={"picks.json": _table(picks), "picks.csv": _csv(picks)},
            tables=("picks.json",),
        )


def training_runs(record: CampaignRecord, models: Literal["last", "all", "none"]) -> Iterator[RunSpec]:
    """A child run for each training of the surrogate, with its model where asked for."""
    for number, card in enumerate(record.models):
        folder = record.folder / "models" / str(number)
        wanted = models == "all" or (models == "last" and number == len(record.models) - 1)
        targets = tuple(card.get("targets", ()))
        model = None
        if wanted and (folder / "weights.safetensors").is_file():
            model = ModelSpec(folder, targets)
        figures = {
            f"figures/parity_{quantity}.png": _draw_parity(quantity, parity)
            for quantity, parity in card.get("parity", {}).items()
            if len(parity.get("observed", ())) > 0
        }
        digest = str(card.get("data_digest", ""))
        n_train = int(card.get("n_train", 0))
        datasets = (DatasetSpec(f"labels of training {number}", digest, n_train, targets),) if digest else ()
        yield RunSpec(
            key=f"{campaign_key(record)}/training/{number}",
            name=f"training {number}",
            status="FINISHED",
            tags={"materia.campaign": record.name, "materia.kind": "training"},
            params=flattened({"round": number, "targets": list(targets), **card.get("settings", {})}),
            metrics=tuple(
                (name, value, 0) for name, value in [("n_train", float(n_train)), *_numbers(card.get("validation", {}))]
            ),
            files={"card.json": _json(card), **figures},
            datasets=datasets,
            model=model,
        )


def _campaign_metrics(record: CampaignRecord) -> Iterator[tuple[str, float, int]]:
    """Cumulative figures, one step per round, and what the surrogate of that round was worth."""
    computed = failed = stopped = hits = validated = 0
    for number, round_ in enumerate(record.rounds):
        computed += sum(p.state is PickState.COMPUTED for p in round_.picks)
        failed += sum(p.state is PickState.FAILED for p in round_.picks)
        stopped += sum(p.state is PickState.STOPPED for p in round_.picks)
        hits += _hits(record, round_)
        validated += _validated(record, round_)
        yield "computed", computed, round_.number
        yield "failed", failed, round_.number
        if record.climbs:
            yield "stopped", stopped, round_.number
        yield "hits", hits, round_.number
        if record.validates:
            yield "validated", validated, round_.number
        for name, value, _ in _round_metrics(record, number, round_):
            if "/" in name or name == "labelled":
                yield name, value, round_.number
    yield from _left_metrics(record)
    yield "core_hours", sum(_cpu_seconds(j) for j in record.jobs) / 3600, max(0, len(record.rounds) - 1)


def _left_metrics(record: CampaignRecord) -> Iterator[tuple[str, float, int]]:
    """What was still to be found before each round; the last step may be that of a round that never began."""
    asked = any(w.get("window") or w.get("below") is not None or w.get("above") is not None for w in _wanted(record))
    for number, left in record.meta.get("remaining", {}).items():
        step = int(number)
        if asked:
            yield "remaining/hits", left["expected"], step
            yield "remaining/hits_at_most", float(left["high"]), step
            if left.get("next_hit"):
                yield "remaining/next_hit_calculations", float(left["next_hit"]["calculations"]), step
                if left["next_hit"]["cpu_s"] is not None:
                    yield "remaining/next_hit_cpu_hours", left["next_hit"]["cpu_s"] / 3600, step
        if left.get("room"):
            yield "remaining/hypervolume_share", left["room"]["expected"], step


def _wanted(record: CampaignRecord) -> list[Mapping[str, Any]]:
    settings = record.settings.get("campaign", record.settings)
    return [*(settings.get("objectives") or ()), *(settings.get("constraints") or ())]


def _round_metrics(record: CampaignRecord, number: int, round_: Round) -> Iterator[tuple[str, float, int]]:
    yield "labelled", float(round_.n_labelled), 0
    for state in PickState:
        yield state.value, float(sum(p.state is state for p in round_.picks)), 0
    yield "hits", float(_hits(record, round_)), 0
    if record.validates:
        yield "validated", float(_validated(record, round_)), 0
    card = record.models[number] if number < len(record.models) else {}
    found = dict(_numbers(card.get("validation", {}))) or dict(_numbers(round_.metrics))
    for name, value in found.items():
        yield f"surrogate/{name}", value, 0
    for quantity, errors in _pick_errors(round_).items():
        yield f"picks/{quantity}/mae", sum(errors) / len(errors), 0


def _pick_errors(round_: Round) -> dict[str, list[float]]:
    """Absolute error of what was predicted when the pick was made, by quantity."""
    errors: dict[str, list[float]] = {}
    for pick in round_.picks:
        for label in pick.labels:
            if label.quantity in pick.predictions:
                error = abs(pick.predictions[label.quantity]["mean"] - label.value)
                errors.setdefault(label.quantity, []).append(error)
    return errors


def _hits(record: CampaignRecord, round_: Round) -> int:
    picked = {p.candidate_id for p in round_.picks if p.state is not PickState.VETOED}
    return sum(bool(r.get("hit")) and r["candidate_id"] in picked for r in record.ranking)


def _validated(record: CampaignRecord, round_: Round) -> int:
    """Hits or not: those whose competing phases are known."""
    picked = {p.candidate_id for p in round_.picks}
    rows = (row for row in record.ranking if row["candidate_id"] in picked)
    return sum(is_validated(row) for row in rows)


def _cpu_seconds(job: JobRecord) -> float:
    return job.outcome.cpu_s if job.outcome is not None else 0.0


def _numbers(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            yield f"{prefix}{key}", float(value)


def _datasets(record: CampaignRecord) -> tuple[DatasetSpec, ...]:
    data = record.dataset
    if not data.get("digest"):
        return ()
    targets = tuple(record.models[0].get("targets", ())) if record.models else ()
    name, n = str(data.get("name", "dataset")), int(data.get("n", 0))
    return (DatasetSpec(name, str(data["digest"]), n, targets),)


def _pick_row(pick: Pick) -> dict[str, Any]:
    row: dict[str, Any] = {
        "slot": pick.slot,
        "candidate_id": pick.candidate_id,
        "state": pick.state.value,
        "reason": pick.reason,
        "trial": pick.trial_number,
    }
    row |= {label.quantity: label.value for label in pick.labels}
    for quantity, prediction in pick.predictions.items():
        row |= {f"{quantity}_predicted": prediction.get("mean"), f"{quantity}_std": prediction.get("std")}
    return row | {f"score_{part}": value for part, value in pick.score.items()}


def _flat_row(row: Mapping[str, Any]) -> dict[str, Any]:
    flat = {
        k: v for k, v in row.items() if k not in ("values", "predictions", "structure", "distortions", "validation")
    }
    if row.get("validation"):
        flat |= {"validated": row["validation"]["validated"], "competing_phases": len(row["validation"]["phases"])}
    if followed := [step for step in row.get("distortions", []) if step["followed"]]:
        flat |= {"distorted_from": followed[0]["parent_prototype"], "distorted_into": followed[-1]["child_prototype"]}
    flat |= row.get("values", {})
    for quantity, prediction in row.get("predictions", {}).items():
        flat |= {f"{quantity}_predicted": prediction.get("mean"), f"{quantity}_std": prediction.get("std")}
    return flat


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _table(rows: list[dict[str, Any]]) -> str:
    """In the form MLflow's tables have (pandas' ``split``)."""
    flat = [_flat_row(row) for row in rows]
    columns = _columns(flat)
    return _json({"columns": columns, "data": [[row.get(c) for c in columns] for row in flat]})


def _csv(rows: list[dict[str, Any]]) -> str:
    flat = [_flat_row(row) for row in rows]
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(flat), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _draw_parity(quantity: str, parity: Mapping[str, Any]) -> Any:
    return lambda: parity_figure(quantity, parity)


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=False, ensure_ascii=False, default=str)


def _milliseconds(iso: Any) -> int | None:
    return int(datetime.fromisoformat(iso).timestamp() * 1000) if isinstance(iso, str) and iso else None


def _standing(record: CampaignRecord) -> str:
    if not record.validates:
        return "*Computed* means the calculation ended well; it is not yet a validated material."
    n = sum(_validated(record, round_) for round_ in record.rounds)
    return (
        f"**{n} validated**: they kept their structure, and the competing phases that the campaign file names are "
        "known at the same level."
    )


def _note(record: CampaignRecord) -> str:
    """Shown by MLflow as the run's description (Markdown)."""
    computed = sum(r["status"] == "computed" for r in record.ranking)
    hits = sum(bool(r.get("hit")) and r["status"] == "computed" for r in record.ranking)
    lines = [
        f"**{computed} candidates computed with DFT, {hits} hits**, "
        f"out of a pool of {record.pool.get('n', 0)}; {len(record.rounds)} rounds.",
        "",
        _standing(record),
        "",
    ]
    best = [r for r in record.ranking if r["status"] == "computed"][:5]
    lines += [f"{r['rank']}. {r['formula']} ({r['prototype']})".replace("<", "&lt;") for r in best]
    return "\n".join(lines)
