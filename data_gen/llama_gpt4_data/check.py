"""`llama-gpt4 data check`: what is wrong with the records of some files, and the files without it.

Every rule has a line in a table with its policy, its count and one example. Records that a policy
drops are left out of the cleaned file; read = kept + dropped. A policy `error` ends with exit code
2, after the table and the report and before anything is cleaned.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llama_gpt4.compose import compose
from llama_gpt4.errors import ExitCode, InputError
from llama_gpt4.help import wants_help
from llama_gpt4.program import ExitReport, run_program, show
from llama_gpt4.records import record_name
from llama_gpt4_data.check_config import CheckConfig
from llama_gpt4_data.record_faults import Entry, find_faults, read_entries

PROGRAM = "data_gen/check"


def main(argv: Sequence[str]) -> int:
    if wants_help(PROGRAM, CheckConfig, argv):
        return ExitCode.DONE
    return run_program("data check", lambda report: run(argv, report))


def run(arguments: Sequence[str], report: ExitReport) -> None:
    """Check all records, say what was found, and write what was asked for."""
    config = compose(CheckConfig, PROGRAM, arguments)
    entries = [entry for file in config.files for entry in read_entries(file)]
    find_faults(entries, config)
    policies = config.policies
    kept = [entry for entry in entries if not entry.is_dropped(policies)]
    dropped = len(entries) - len(kept)
    show("".join(f"{line}\n" for line in table(entries, policies)))
    show(f"\n{len(entries):,} records read = {len(kept):,} kept + {dropped:,} dropped\n")
    if config.report is not None:
        write_whole("report", config.report, described(entries, config))
    _refuse_errors(entries, config)
    if config.output is not None:
        write_whole("output", config.output, cleaned(kept, config.output))


def table(entries: Sequence[Entry], policies: dict[str, str]) -> Iterator[str]:
    """A line for each rule: what becomes of its records, how many there are, and the first."""
    width = max(map(len, policies))
    yield f"{'rule':<{width}}  policy  records  example"
    for rule, policy in policies.items():
        found = list(_found_by(rule, entries))
        example = ""
        if found:
            entry, excerpt = found[0]
            name = record_name(Path(entry.record.file).name, entry.record.index)
            example = f"{name}: {excerpt}"
        yield f"{rule:<{width}}  {policy:<6}  {len(found):>7,}  {example}".rstrip()


def described(entries: Sequence[Entry], config: CheckConfig) -> str:
    """All findings as JSON: by rule, the records with their files and numbers."""
    policies = config.policies
    dropped = sum(entry.is_dropped(policies) for entry in entries)
    rules = {
        rule: {
            "policy": policy,
            "records": [
                {"file": entry.record.file, "record": entry.record.index, "found": excerpt}
                for entry, excerpt in _found_by(rule, entries)
            ],
        }
        for rule, policy in policies.items()
    }
    report = {
        "config": asdict(config),
        "read": len(entries),
        "kept": len(entries) - dropped,
        "dropped": dropped,
        "rules": rules,
    }
    return json.dumps(report, ensure_ascii=False, indent=1) + "\n"


def cleaned(kept: Sequence[Entry], output: str) -> str:
    """The records that stay, with all their keys, as a JSON array or as JSONL."""
    values: list[dict[str, Any]] = [entry.cleaned for entry in kept]
    if output.endswith(".jsonl"):
        return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"


def write_whole(key: str, name: str, text: str) -> None:
    """Write a file aside and rename it, so that nobody ever reads half of it."""
    path = Path(name)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, "utf-8")
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise InputError(f"{key}={name} cannot be written ({error.strerror})") from error


def _found_by(rule: str, entries: Sequence[Entry]) -> Iterator[tuple[Entry, str]]:
    for entry in entries:
        yield from ((entry, found.excerpt) for found in entry.findings if found.rule == rule)


def _refuse_errors(entries: Sequence[Entry], config: CheckConfig) -> None:
    sections = {"answer": asdict(config.answer), "record": asdict(config.record)}
    for section, policies in sections.items():
        for rule, policy in policies.items():
            found = list(_found_by(rule, entries)) if policy == "error" else []
            if found:
                key, first = f"{section}.{rule}", found[0][0].record.name
                has = "1 record has it" if len(found) == 1 else f"{len(found):,} records have it"
                raise InputError(
                    f"{key}=error, and {has}, first {first}: mend what is there, or say "
                    f"{key}=drop or {key}=keep"
                )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
