"""What failed and where it all comes from: the accounts of a campaign as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from materia.record import CampaignRecord, PickState
from materia.report import _words as words
from materia.simulation import LEVELS, expected_error, level_hash


def failures(record: CampaignRecord) -> list[dict[str, Any]]:
    """Failed calculations, and picks that failed without one."""
    found: list[dict[str, Any]] = [
        {
            "name": job.name,
            "kind": words.spaced(job.outcome.kind.value),
            "reason": words.spaced(job.outcome.reason),
            "message": job.outcome.message,
            "attempts": job.attempts,
            "retryable": job.outcome.retryable,
            "time": words.duration(job.outcome.wall_s),
        }
        for job in record.jobs
        if job.outcome is not None and not job.outcome.ok
    ]
    named = {str(f["name"]).rsplit("/", 1)[0] for f in found}
    nothing = {"kind": "failed", "message": "", "attempts": "–", "retryable": False, "time": "–"}
    found += [
        {**nothing, "name": p.candidate_id, "reason": words.reason(p.reason)}
        for r in record.rounds
        for p in r.picks
        if p.state is PickState.FAILED and p.candidate_id not in named
    ]
    return found


def changed_structures(record: CampaignRecord) -> set[str]:
    """Candidates that did not keep their structure type on relaxation."""
    done = [(j.name.rsplit("/", 1)[0], j.outcome.values) for j in record.jobs if j.outcome is not None]
    return {name for name, values in done if values.get("prototype_kept") is False}


def distorting(record: CampaignRecord) -> set[str]:
    """Candidates that a potential found to fall into a structure of lower symmetry."""
    done = [(j.name.rsplit("/", 1)[0], j.outcome.values) for j in record.jobs if j.outcome is not None]
    return {name for name, values in done if values.get("distorts") is True}


def fell(row: Mapping[str, Any]) -> str:
    """From which prototype into which a candidate fell whose values are those of its distorted child; "" for others."""
    steps = [step for step in row.get("distortions", []) if step["followed"]]
    if not steps:
        return ""
    unfinished = "" if steps[-1]["child_relaxed"] else ", which the potential had not relaxed to the end"
    return " → ".join([steps[0]["parent_prototype"], *(step["child_prototype"] for step in steps)]) + unfinished


def dataset(record: CampaignRecord) -> dict[str, Any]:
    card = record.dataset.get("card", {})
    plain = {k: v for k, v in card.items() if isinstance(v, (str, int, float)) and k not in ("name", "digest")}
    return {
        "name": record.dataset.get("name", ""),
        "n": words.count(record.dataset.get("n")),
        "digest": record.dataset.get("digest", ""),
        "card": pairs(plain),
    }


def models(record: CampaignRecord) -> list[dict[str, str]]:
    found = []
    for place, card in enumerate(record.models):
        text = "; ".join(
            f"{words.title(q)} {words.number(v.get('mae'), decimals=3)} {words.unit(q)}"
            for q, v in card.get("validation", {}).items()
        )
        found.append(
            {
                "number": str(place),
                "n": words.count(card.get("n_train")),
                "mae": text,
                "digest": str(card.get("weights_sha256") or card.get("data_digest", "")),
            }
        )
    return found


def digests(record: CampaignRecord) -> list[tuple[str, str]]:
    found = {"pool": record.pool.get("hash", ""), "training data": record.dataset.get("digest", "")}
    level = record.meta.get("level", {})
    if isinstance(level, Mapping):
        found["level"] = level.get("hash", "")
    inner = {**record.settings.get("digests", {}), **record.meta.get("digests", {})}
    found |= {str(k): v for k, v in inner.items() if k not in ("pool", "dataset", "level")}
    return [(k, str(v)) for k, v in found.items() if v]


def level(record: CampaignRecord) -> list[tuple[str, str]]:
    """Settings of the ladder's own level, and how far from converged its results are expected to be."""
    written = record.meta.get("level", {})
    found = pairs(written)
    known = LEVELS.get(str(written.get("name"))) if isinstance(written, Mapping) else None
    if known is None or written.get("hash") != level_hash(known):
        return found
    error = expected_error(known)
    return found if error is None else [*found, ("expected error", str(error))]


def changes(record: CampaignRecord) -> list[dict[str, str]]:
    """What of the campaign file was changed once it had started."""
    return [
        {"when": str(row["when"])[:16].replace("T", " "), "what": f"{row['setting']}: {row['from']} → {row['to']}"}
        for row in record.meta.get("changes", [])
    ]


def pairs(tree: Any) -> list[tuple[str, str]]:
    """Flat facts of a card or a level; what is nested or long is left to the files."""
    if not isinstance(tree, Mapping):
        return [("name", str(tree))] if tree else []
    return [
        (words.spaced(str(k)), str(v))
        for k, v in tree.items()
        if isinstance(v, (str, int, float)) and len(str(v)) < 400
    ]


def when(iso: Any) -> str:
    return str(iso).replace("T", " ").replace("+00:00", " UTC") if iso else ""
