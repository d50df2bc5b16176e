"""The faults of the records of a data set: each record's own, and those that it has among others.

A record that a fault of its own drops does not count as the first of its duplicates, so that no
task is lost for a bad answer that stands before a good one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llama_gpt4.conversations import Exchange
from llama_gpt4.decontamination import EvaluationOverlap
from llama_gpt4.records import Record, json_values, parse_records, read_bytes, record_name
from llama_gpt4.rouge import mixed, rouge_l
from llama_gpt4.similarity import SimilarityIndex
from llama_gpt4.validators import Finding, answer_findings, shown
from llama_gpt4_data.check_config import CheckConfig
from llama_gpt4_data.personal_data import personal_data
from llama_gpt4_data.task_validators import media_task, url_only_input


@dataclass(frozen=True)
class Entry:
    """A record, what its file says in full, and what is wrong with it."""

    value: dict[str, Any]
    record: Record
    findings: list[Finding] = field(default_factory=list)

    @property
    def cleaned(self) -> dict[str, Any]:
        """What the cleaned file says: the same, but for a placeholder."""
        if "input" not in self.value:
            return self.value
        return self.value | {"input": self.record.input}

    def is_dropped(self, policies: Mapping[str, str]) -> bool:
        return any(policies[finding.rule] == "drop" for finding in self.findings)


def read_entries(file: str) -> list[Entry]:
    """The records of a file; one that is no record at all is an `InputError`."""
    content = read_bytes(file)
    values = (value for _, value in json_values(content, file))
    records = parse_records(content, file)
    return [Entry(value, record) for value, record in zip(values, records, strict=True)]


def find_faults(entries: Sequence[Entry], config: CheckConfig) -> None:
    """Note on each entry what is wrong with it."""
    files, rouge_l = config.evaluation_files, config.evaluation_rouge_l
    overlap = EvaluationOverlap(files, rouge_l, "evaluation_files") if files else None
    for entry in entries:
        entry.findings.extend(_own_faults(entry, config))
        found = overlap.with_record(entry.record) if overlap else None
        if found:
            entry.findings.append(Finding("evaluation_overlap", found))
    stay = [entry for entry in entries if not entry.is_dropped(config.policies)]
    unlike = list(_find_duplicates(stay))
    if config.near_duplicate_rouge_l is not None:
        _find_near_duplicates(unlike, config.near_duplicate_rouge_l)


def _own_faults(entry: Entry, config: CheckConfig) -> Iterator[Finding]:
    """Each at most once, however many turns have it."""
    record = entry.record
    found: dict[str, Finding] = {}
    for exchange in record.exchanges:
        for finding in _faults_of(exchange, record.placeholder, config):
            found.setdefault(finding.rule, finding)
    yield from found.values()


def _faults_of(exchange: Exchange, placeholder: str, config: CheckConfig) -> Iterator[Finding]:
    yield from answer_findings(*exchange, config.language)
    faults = {
        "length": _beyond_length(exchange.output, config),
        "placeholder_input": shown(placeholder) if placeholder else None,
        "url_only_input": url_only_input(exchange.instruction, exchange.input),
        "media_task": media_task(exchange.instruction),
        "personal_data": _personal_data(exchange),
    }
    yield from (Finding(rule, found) for rule, found in faults.items() if found is not None)


def _beyond_length(output: str, config: CheckConfig) -> str | None:
    if not output.strip():
        return None  # an empty one is counted as that
    tokens = len(mixed(output))
    is_within = config.min_output_tokens <= tokens and (
        config.max_output_tokens is None or tokens <= config.max_output_tokens
    )
    return None if is_within else f"{tokens} tokens: {shown(output)}"


def _personal_data(exchange: Exchange) -> str | None:
    """The kind of what is found and where, without telling it to everybody."""
    for key, text in (
        ("instruction", exchange.instruction),
        ("input", exchange.input),
        ("output", exchange.output),
    ):
        for kind, found in personal_data(text):
            return f"{kind} in {key}: {found[:3]}…"
    return None


def _find_duplicates(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Those that are the first of their kind."""
    first: dict[tuple[str, ...], Entry] = {}
    for entry in entries:
        record = entry.record
        key = tuple(text.strip() for text in record.prompt)
        before = first.setdefault(key, entry)
        if before is entry:
            yield entry
        else:
            text = f"of {_short_name(before.record)}: {shown(record.instruction)}"
            entry.findings.append(Finding("duplicate", text))


def _find_near_duplicates(entries: Sequence[Entry], threshold: float) -> None:
    index = SimilarityIndex(threshold)
    admitted: list[Record] = []
    for entry in entries:
        record = entry.record
        text = "\n".join(record.prompt)
        # One instruction for many inputs is a task with many examples.
        match = next(
            (
                match
                for match in index.similar(text)
                if _are_alike(record.input, admitted[match.number].input, threshold)
            ),
            None,
        )
        if match is None:
            index.add(text)
            admitted.append(record)
        else:
            like = f"{match.f:.2f} {_short_name(admitted[match.number])}"
            entry.findings.append(Finding("near_duplicate", f"{like}: {shown(record.instruction)}"))


def _are_alike(one: str, other: str, threshold: float) -> bool:
    return one == other or rouge_l(mixed(one), mixed(other)).f > threshold


def _short_name(record: Record) -> str:
    return record_name(Path(record.file).name, record.index)
