"""What `llama-gpt4 data check` is configured by. Values live in `conf/data_gen/check.yaml`.

The fields of the two policies are the names of the rules.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from llama_gpt4.errors import require, require_one_of

POLICIES = ("keep", "drop", "error")


def _require_policies(section: str, policies: Mapping[str, str]) -> None:
    for rule, policy in policies.items():
        require_one_of(f"{section}.{rule}", policy, POLICIES)


@dataclass(kw_only=True)
class AnswerPolicy:
    """What becomes of a record whose output has a fault: `keep` it and count, `drop` it from the
    cleaned file, or end with an `error`."""

    empty: str
    """No answer, or `<nooutput>` and the like."""
    refusal: str
    """The answer says that it cannot do the task, and does not."""
    asks_for_input: str
    """The answer only asks for what the task did not give."""
    disclaimer: str
    """The answer says that a machine wrote it, or what that cannot do, and then does the task."""
    wrong_language: str
    """The answer is in another language than `language`, or than its instruction."""
    leakage: str
    """Parts of a prompt or of a chat's format are in the answer."""
    cut_start: str
    """The first letters are missing: `e! Here is` for `Sure! Here is`."""
    truncated: str
    """A long answer stops within a sentence."""
    length: str
    """Fewer tokens than `min_output_tokens`, or more than `max_output_tokens`."""

    def __post_init__(self) -> None:
        _require_policies("answer", asdict(self))


@dataclass(kw_only=True)
class RecordPolicy:
    """The same for faults of the task, and of a record among others."""

    placeholder_input: str
    """`<noinput>`, `N/A` and the like, which become empty in a record that is kept."""
    url_only_input: str
    """The input is a link, which a model of text cannot follow."""
    media_task: str
    """The task makes or needs an image, a plot, a sound or a film."""
    personal_data: str
    """An e-mail or IP address, the number of a phone, card, account or identity; not those of
    example.com and the like."""
    evaluation_overlap: str
    """The instruction is one of `evaluation_files`, or resembles one."""
    duplicate: str
    """An earlier record that stays has the same instruction and input."""
    near_duplicate: str
    """An earlier record that stays resembles this one, in all and in its input."""

    def __post_init__(self) -> None:
        _require_policies("record", asdict(self))


@dataclass(kw_only=True)
class CheckConfig:
    """Which records are checked, and what becomes of those with faults."""

    files: list[str]
    """JSON or JSONL files of Alpaca records; `sample:en` and `sample:zh` are the shipped ones."""
    language: str | None
    """What the answers should be in, `en` or `zh`; null: each in that of its instruction."""
    evaluation_files: list[str]
    """Files of questions that must not be trained on, as `llama-gpt4 answer` reads them."""
    output: str | None
    """Where the records that stay are written, as JSONL if it is called so; null: nowhere."""
    report: str | None
    """Where all findings are written as JSON, with the numbers of the records; null: nowhere."""
    min_output_tokens: int
    """Tokens are words, and single characters of Chinese."""
    max_output_tokens: int | None
    near_duplicate_rouge_l: float | None
    """Above this ROUGE-L F of instructions with their inputs two records resemble each other; null:
    only equal ones are looked for."""
    evaluation_rouge_l: float
    """Above this ROUGE-L F an instruction resembles one of the evaluation."""
    answer: AnswerPolicy
    record: RecordPolicy

    def __post_init__(self) -> None:
        require(bool(self.files), "files is empty: name at least one file of records")
        if self.language is not None:
            require_one_of("language", self.language, ("en", "zh"))
        least, most = self.min_output_tokens, self.max_output_tokens
        require(least >= 0, f"min_output_tokens={least} is negative")
        require(
            most is None or most >= least,
            f"max_output_tokens={most} is less than min_output_tokens={least}",
        )
        for key in ("near_duplicate_rouge_l", "evaluation_rouge_l"):
            value = getattr(self, key)
            require(value is None or 0 < value < 1, f"{key}={value} is not within (0, 1)")
        read = {os.path.realpath(name) for name in (*self.files, *self.evaluation_files)}
        written = [os.path.realpath(name) for name in (self.output, self.report) if name]
        for key in ("output", "report"):
            name = getattr(self, key)
            is_read = name is not None and os.path.realpath(name) in read
            require(not is_read, f"{key}={name} would overwrite a file that is checked")
        require(len(set(written)) == len(written), "output and report are one file")

    @property
    def policies(self) -> dict[str, str]:
        """What becomes of a record, by rule, in the order in which the rules are asked."""
        return asdict(self.answer) | asdict(self.record)
