"""The card of a data set, README.md in Hugging Face's format: what is in it, how it was made, and
under what licence and terms it may be used. Nothing is exported without one."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import yaml

from llama_gpt4.cards import TERMS, table
from llama_gpt4.errors import InputError, require
from llama_gpt4.records import origins, read_bytes
from llama_gpt4_data.endpoint_config import EndpointConfig

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""Hugging Face's size categories by the number of records that they end at; then `1M<n<10M`."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What a card says of a task beyond its records."""

    task: str
    language: str
    """Of what the teacher wrote, such as `en`."""
    category: str
    """Hugging Face's task category of the data."""
    frame: str
    """The prompt with its placeholders."""


def card(
    about: About,
    endpoint: EndpointConfig,
    source_licence: str | None,
    records: Sequence[Mapping[str, Any]],
    report: Mapping[str, Any],
) -> str:
    """The text of README.md; `report` counts what became of the items."""
    require(bool(endpoint.licence.strip()), "licence is empty: say under which the answers are")
    made_by = list(origins(records))
    parts = [
        f"---\n{_front_matter(about, endpoint, len(records))}---",
        f"# {len(records):,} records by `llama-gpt4 data {about.task}`",
        _counts(report),
        _lengths(records),
        _making(about, endpoint, made_by),
        _sources(made_by, source_licence),
        _licence(endpoint, source_licence),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(about: About, endpoint: EndpointConfig, n_records: int) -> str:
    size = next((name for end, name in SIZES if n_records < end), "1M<n<10M")
    head = {
        "license": endpoint.licence,
        "language": [about.language],
        "size_categories": [size],
        "task_categories": [about.category],
        "tags": ["synthetic", "instruction-tuning", "llama-gpt4"],
        "configs": [
            {"config_name": "default", "data_files": "data.json"},
            {"config_name": "provenance", "data_files": "data.jsonl"},
        ],
    }
    return yaml.safe_dump(head, allow_unicode=True, sort_keys=False)


def _counts(report: Mapping[str, Any]) -> str:
    rows: list[tuple[str, Any]] = [
        ("asked for", report["items"]),
        ("records", report["records"]),
        ("failed", report["failed"]),
        ("not asked yet", report["open"]),
    ]
    rows += [(f"failed: {reason}", n) for reason, n in report["failures"].items()]
    rows += [(f"found: {finding}", n) for finding, n in report["findings"].items()]
    return "## Counts\n\n" + table(("what", "items"), rows)


def _lengths(records: Sequence[Mapping[str, Any]]) -> str:
    texts: dict[str, list[str]] = {}
    for record in records:
        for key, value in record.items():
            if isinstance(value, str) and key != "id":
                texts.setdefault(key, []).append(value)
    rows = [(key, *_length_row([len(text) for text in found])) for key, found in texts.items()]
    heads = ("characters of", "mean", "median", "95 %", "longest", "empty")
    return "## Lengths\n\n" + table(heads, rows)


def _length_row(lengths: Sequence[int]) -> tuple[str, ...]:
    ordered = sorted(lengths)
    shown = (fmean(ordered), median(ordered), ordered[int(0.95 * (len(ordered) - 1))], ordered[-1])
    return (*(f"{number:,.0f}" for number in shown), f"{ordered.count(0):,}")


def _making(about: About, endpoint: EndpointConfig, made_by: Sequence[Mapping[str, Any]]) -> str:
    models = Counter(origin["model"] for origin in made_by)
    settings = Counter(json.dumps(origin["parameters"], sort_keys=True) for origin in made_by)
    ends = Counter(origin["finish_reason"] for origin in made_by)
    times = sorted(origin["time"] for origin in made_by)
    frame_hash = hashlib.sha256(about.frame.encode()).hexdigest()
    rows = [
        ("model, as the endpoint names it", _listed(models) or endpoint.model),
        ("endpoint", endpoint.address),
        ("parameters", _listed(settings)),
        ("finish reasons", _listed(ends)),
        ("first and last reply", f"{times[0]} to {times[-1]}" if times else "none"),
        ("SHA-256 of the prompt below", frame_hash),
    ]
    return (
        f"## How it was made\n\n{table(('what', 'value'), rows)}\n\n"
        f"~~~text\n{about.frame}\n~~~\n\n"
        "`provenance` in data.jsonl says this of each record, with the hash of its own prompt, its "
        "findings, and the keys of the requests that it was paid with."
    )


def _sources(made_by: Sequence[Mapping[str, Any]], source_licence: str | None) -> str:
    files = Counter(
        origin["derived_from"]["file"]
        for origin in made_by
        if "file" in origin.get("derived_from", {})
    )
    licence = source_licence or "not stated by who made this"
    # The name alone: where it lay on somebody's disk is nobody's business.
    rows = [(name.rpartition("/")[2], n, licence, _file_hash(name)) for name, n in files.items()]
    return "## Made from\n\n" + table(("file", "used", "licence", "SHA-256"), rows)


def _file_hash(name: str) -> str:
    try:
        return hashlib.sha256(read_bytes(name)).hexdigest()
    except InputError:
        return "no longer there"


def _licence(endpoint: EndpointConfig, source_licence: str | None) -> str:
    sources = source_licence or "not stated; find out before you share this"
    return (
        f"{TERMS}\n\n"
        f"- The replies of the model: {endpoint.licence}.\n"
        f"- Who uses them is also bound by: {endpoint.terms.strip() or 'nothing more'}\n"
        f"- The records that it was made from: {sources}.\n"
        "- The program that made it, llama-gpt4, is under Apache-2.0, which says nothing about the "
        "data."
    )


def _listed(counts: Counter[str]) -> str:
    """What there is, with numbers where there is more than one."""
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{what} ({n:,})" for what, n in counts.most_common())
