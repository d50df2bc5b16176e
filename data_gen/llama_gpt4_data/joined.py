"""Answers of several models to the same instructions, from one file a model.

Where every record has an id of its own, ids join; else what is asked does, and how often it was
asked before in the file. A place in a file joins nothing: one answer that failed in one of them
shifts all that follow, as in the paper's published lists of scores.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from llama_gpt4.errors import InputError, require
from llama_gpt4.questions import OWN_IDS, hashed_id
from llama_gpt4_data.sources import Source, read_sources


@dataclass(frozen=True)
class Answered:
    """One instruction and who answered it."""

    id: str
    """What joined it, as a text."""
    instruction: str
    input: str
    answers: dict[str, Source] = field(default_factory=dict)
    """The record with the answer, by the model's name."""


def read_answered(
    files: Mapping[str, str], missing: str, limit: int | None
) -> tuple[list[Answered], int]:
    """The instructions of `files`, a file a model, in the order in which they come first, `limit`
    at most; and how many were left out.

    What not all files answer is, by `missing`, taken with the answers that are there (`keep`), left
    out (`drop`), or a reason to refuse the files (`error`).
    """
    joined = _join({model: read_sources([file], None) for model, file in files.items()})
    _require_agreement(joined)
    _require_common(joined, files)
    whole = [answered for answered in joined if len(answered.answers) == len(files)]
    if missing == "error":
        _require_whole(joined, files)
    kept = joined if missing == "keep" else whole
    require(bool(kept), "answers: no instruction is in all files: missing=keep takes what is there")
    return kept[:limit], len(joined) - len(kept)


def _join(by_model: Mapping[str, Sequence[Source]]) -> list[Answered]:
    has_ids = all(
        any(key in source.value for key in OWN_IDS)
        for sources in by_model.values()
        for source in sources
    )
    joined: dict[str, Answered] = {}
    for model, sources in by_model.items():
        for source in sources:
            id = source.id if has_ids else _id_by_question(source)
            new = Answered(id, source.instruction, source.input)
            joined.setdefault(id, new).answers[model] = source
    return list(joined.values())


def _id_by_question(source: Source) -> str:
    id = hashed_id(source.instruction, source.input)
    return f"{id}-{source.repeat}" if source.repeat else id


def _require_agreement(joined: Sequence[Answered]) -> None:
    """Refuse files whose ids mean different things."""
    asked = [list(_by_question(answered).values()) for answered in joined]
    apart = [sources for sources in asked if len(sources) > 1]
    if apart:
        first, second = apart[0][:2]
        raise InputError(
            f"answers: {len(apart)} of {len(joined)} ids ask different things in different files: "
            f"{first.id} is {_shown(first)}, but {_shown(second)}; give one instruction one id, or "
            "take the ids out to join by what is asked"
        )


def _by_question(answered: Answered) -> dict[tuple[str, str], Source]:
    return {(source.instruction, source.input): source for source in answered.answers.values()}


def _require_common(joined: Sequence[Answered], files: Mapping[str, str]) -> None:
    """Refuse a file that shares nothing with the others."""
    shared = {m for answered in joined if len(answered.answers) > 1 for m in answered.answers}
    for model, file in files.items():
        if len(files) > 1 and model not in shared:
            n = sum(model in answered.answers for answered in joined)
            raise InputError(
                f"answers.{model}: none of the {n} instructions of {file} is in another file"
            )


def _require_whole(joined: Sequence[Answered], files: Mapping[str, str]) -> None:
    lacking = Counter(m for answered in joined for m in files if m not in answered.answers)
    if lacking:
        n = sum(len(answered.answers) < len(files) for answered in joined)
        each = ", ".join(f"{number} in {files[model]}" for model, number in lacking.items())
        raise InputError(
            f"answers: {n} of {len(joined)} instructions are not in all files (missing: {each}): "
            "missing=keep takes the answers that are there, missing=drop leaves them out"
        )


def _shown(source: Source) -> str:
    asked = f"{source.instruction}\n{source.input}".strip()
    short = asked if len(asked) <= 60 else f"{asked[:60]}…"
    return f"{json.dumps(short, ensure_ascii=False)} in {source.file}"
