"""`llama-gpt4 rank`: a reward model sorts the answers to each question, and its k-th best answers
to all questions are written as the answers of one model, Rk.

So the paper used its reward model: five answers to each of 80 questions, groups R1 to R5, beside B,
what one ordinary decoding of the same model says.
"""

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from llama_gpt4.answer import PATHS, TrainedModel, quote_values
from llama_gpt4.compose import compose
from llama_gpt4.errors import require, require_one_of
from llama_gpt4.files import write_json, write_jsonl
from llama_gpt4.help import wants_help
from llama_gpt4.overrides import quoted
from llama_gpt4.program import hold, run_program
from llama_gpt4.prompt import render_prompt
from llama_gpt4_data.best_of_n import Floats
from llama_gpt4_data.candidates import (
    Candidate,
    Candidates,
    read_candidates,
    require_equally_many,
    require_same_questions,
)
from llama_gpt4_data.rank_report import draw, report_of, table
from llama_gpt4_data.ranked import BASELINE, Ranked, answer_lines, ranked, reward_lines
from llama_gpt4_data.reward_backbone import reward_model_folder
from llama_gpt4_data.task import require_apart

FIRST_SAMPLE = "first_sample"
OUTPUTS = ("rewards.jsonl", "report.json", "best_of_n.png")


@dataclass(kw_only=True)
class RankConfig:
    """Which reward model sorts which answers."""

    model: TrainedModel
    answers: list[str]
    """Files that hold, together, equally many answers to each question: of `llama-gpt4 answer
    samples=5`, or FastChat's with one each. `answers=a.jsonl` is short for a single one."""
    questions: str | None
    """The file that was asked, as `answer` takes it, where the answers do not hold their questions,
    as FastChat's; null: they do."""
    baseline: str | None
    """Group B, one ordinary decoding for each question: a file of those, as in the paper; or
    `first_sample`, the first of the answers, which is one where all are drawn alike; null: none."""
    output_dir: str
    """Of R1.jsonl and so on, rewards.jsonl, report.json, best_of_n.png, and the journal with which
    an interrupted run goes on."""
    processes: int | None
    """How many score; null: one for each GPU, or one on a CPU."""
    device: str
    """`cpu`, `cuda` with a GPU for each process, or `auto`: CUDA where there is one."""

    def __post_init__(self) -> None:
        require(bool(self.answers), "answers is empty: name a file of answers")
        n = self.processes
        require(n is None or n > 0, f"processes={n} must be positive")
        require_one_of("device", self.device, ("auto", "cpu", "cuda"))


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _as_text(sys.argv[1:] if argv is None else argv)
    if wants_help("rank", RankConfig, arguments):
        return 0
    return run_program("rank", lambda report: run(arguments))


def run(arguments: Sequence[str]) -> None:
    """Score all answers, write the groups, and say what choosing was worth."""
    config = compose(RankConfig, "rank", arguments)
    candidates = read_candidates("answers", config.answers, config.questions)
    n = require_equally_many("answers", candidates)
    require(
        n > 1,
        "answers: one answer to each question leaves nothing to rank: `llama-gpt4 answer "
        "samples=5` makes five",
    )
    baseline = _baseline(config, candidates)
    output_dir = Path(config.output_dir)
    read = [*config.answers, *filter(None, (config.questions, config.baseline))]
    require_apart(read, output_dir, [*OUTPUTS, *map(_file_name, _groups(n))], key="output_dir")
    folder = reward_model_folder(config.model.path)
    lock = hold(output_dir, key="output_dir")
    found = ranked(candidates, baseline, _rewards(config, folder, candidates, baseline))
    _write(config, found, output_dir)
    os.close(lock)
    print(f"{len(candidates)} questions, {n} answers each, by the rewards of {folder}:")
    print(f"{table(found)}\n{output_dir}/{_file_name('R1')} and so on, {', '.join(OUTPUTS)}")


def _baseline(config: RankConfig, candidates: Sequence[Candidates]) -> list[Candidate] | None:
    """The answers of group B, one to each question."""
    if config.baseline is None:
        return None
    if config.baseline == FIRST_SAMPLE:
        return [each.answers[0] for each in candidates]
    read = read_candidates("baseline", [config.baseline], config.questions)
    require_same_questions(f"baseline={config.baseline}", candidates, read)
    answers = {each.id: each.answers[0] for each in read}
    return [answers[each.id] for each in candidates]


def _rewards(
    config: RankConfig,
    folder: Path,
    candidates: Sequence[Candidates],
    baseline: Sequence[Candidate] | None,
) -> Floats:
    """(Q, n) of the answers, or (Q, n + 1) with the baseline's."""
    # It imports torch, which waits until the input is known good.
    from llama_gpt4_data.reward_pass import RewardJournal, Scored, devices_of, rewards_of

    wanted = [
        Scored(
            name=f"{answer.file}: question {each.id}, sample {answer.sample}",
            prompt=render_prompt(each.question.instruction, each.question.input),
            text=answer.text,
        )
        for i, each in enumerate(candidates)
        for answer in (*each.answers, *(baseline[i : i + 1] if baseline else ()))
    ]
    journal = RewardJournal(Path(config.output_dir) / "journal.jsonl")
    devices = devices_of(config.device, config.processes)
    found = rewards_of(wanted, folder, journal, devices)
    return np.array(found).reshape(len(candidates), -1)


def _write(config: RankConfig, found: Ranked, output_dir: Path) -> None:
    for group in found.all_groups:
        write_jsonl(output_dir / _file_name(group.name), answer_lines(found, group))
    write_jsonl(output_dir / "rewards.jsonl", reward_lines(found))
    write_json(output_dir / "report.json", {"config": asdict(config), **report_of(found)})
    draw(found, output_dir / "best_of_n.png")
    written = {_file_name(group.name) for group in found.all_groups}
    for path in output_dir.iterdir():  # groups of a run with more answers are no part of this one
        if re.fullmatch(r"(R\d+|B)\.jsonl", path.name) and path.name not in written:
            path.unlink()


def _groups(n: int) -> list[str]:
    return [*(f"R{k}" for k in range(1, n + 1)), BASELINE]


def _file_name(group: str) -> str:
    return f"{group}.jsonl"


def _as_text(arguments: Sequence[str]) -> list[str]:
    """Paths are taken to the letter, and a single file of answers as a list of one."""
    keys = PATHS | {key: key for key in ("questions", "baseline", "output_dir")}
    found = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key == "answers" and value and not value.startswith("["):
            found.append(f"answers=[{quoted(value)}]")
        elif value == "null":
            found.append(argument)
        else:
            found += quote_values([argument], keys)
    return found


if __name__ == "__main__":
    sys.exit(main())
