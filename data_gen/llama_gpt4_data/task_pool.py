"""All tasks of a run: those that people wrote, and those of the teacher that passed the filters and
are new. Prompts are drawn from them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files as package_files

from llama_gpt4.errors import InputError, require
from llama_gpt4.questions import hashed_id
from llama_gpt4.records import record_name
from llama_gpt4.rouge import mixed, rouge_l
from llama_gpt4.similarity import SimilarityIndex
from llama_gpt4_data.instruct_config import DemonstrationsConfig
from llama_gpt4_data.instruction_filters import InstructionFilterConfig, dropped_by
from llama_gpt4_data.sources import read_sources
from llama_gpt4_data.task_lists import Task

HANDFUL = 8
"""Tasks that are drawn for each place in a prompt, where the least similar ones are taken."""
N_NEAREST = 10
"""Earlier instructions that a record names, as Alpaca's do."""


@dataclass(frozen=True)
class PoolTask:
    """A task that can stand in a prompt."""

    id: str
    task: Task
    is_classification: bool


@dataclass(frozen=True)
class Admission:
    """What became of a task."""

    rule: str | None
    """That dropped it; None: it is new."""
    nearest: dict[str, float]
    """The most similar earlier instructions with their ROUGE-L F."""
    average: float
    """ROUGE-L F with all earlier ones."""


def read_seeds(file: str | None, language: str) -> list[PoolTask]:
    """The tasks that people wrote, in `file` or shipped in `language`."""
    shipped = package_files("llama_gpt4_data") / "seeds" / f"{language}.jsonl"
    name = str(shipped) if file is None else file
    seeds = []
    for source in read_sources([name], None):
        is_classification = source.value.get("is_classification", False)
        if not isinstance(is_classification, bool):
            raise InputError(
                f"{record_name(name, source.index)}: `is_classification` is neither true nor false"
            )
        task = Task(source.instruction, source.input, source.output)
        seeds.append(PoolTask(source.id, task, is_classification))
    return seeds


class TaskPool:
    """Seeds and accepted tasks."""

    def __init__(
        self, seeds: Sequence[PoolTask], filters: InstructionFilterConfig, max_rouge_l: float
    ) -> None:
        self.seeds = list(seeds)
        self.machine: list[PoolTask] = []
        """Accepted ones, in their order."""
        self._filters, self._texts = filters, [seed.task.instruction for seed in seeds]
        self._index = SimilarityIndex(max_rouge_l)
        for text in self._texts:
            self._index.add(text)

    def admit(self, task: Task) -> Admission:
        """Add `task`, unless a filter drops it or an earlier one is too similar."""
        text = task.instruction
        rule = dropped_by(text, self._filters)
        if rule is not None:
            return Admission(rule, {}, 0.0)
        similar = self._index.similar(text)
        if similar:
            return Admission("similar", {self._texts[similar[0].number]: similar[0].f}, 0.0)
        around = self._index.neighbours(text, N_NEAREST)
        nearest = {self._texts[match.number]: match.f for match in around.nearest}
        self._index.add(text)
        self._texts.append(text)
        self.machine.append(PoolTask(hashed_id(text, task.input), task, False))
        return Admission(None, nearest, around.average)


def draw(
    pool: TaskPool, config: DemonstrationsConfig, number: int, n_prompts: int
) -> list[list[PoolTask]]:
    """The demonstrations of each prompt of round `number`."""
    rng = random.Random(f"{config.seed} {number}")
    return [_demonstrations(pool, config, rng) for _ in range(n_prompts)]


def require_seeds(seeds: Sequence[PoolTask], config: DemonstrationsConfig) -> None:
    """The first round has no others."""
    require(
        len(seeds) >= config.per_prompt,
        f"seeds: {len(seeds)} tasks are not enough for the {config.per_prompt} demonstrations of "
        "a prompt: write more, or lower demonstrations.seeds",
    )


def _demonstrations(
    pool: TaskPool, config: DemonstrationsConfig, rng: random.Random
) -> list[PoolTask]:
    n_machine = min(config.machine, len(pool.machine))
    wanted = ((pool.machine, n_machine), (pool.seeds, config.per_prompt - n_machine))
    chosen: list[PoolTask] = []
    for group, n in wanted:
        if config.choice == "random":
            chosen += rng.sample(group, n)
        else:
            handful = rng.sample(group, min(len(group), HANDFUL * n))
            chosen += _least_similar(handful, n, chosen)
    rng.shuffle(chosen)
    return chosen


def _least_similar(
    handful: Sequence[PoolTask], n: int, before: Sequence[PoolTask]
) -> list[PoolTask]:
    """One after the other the task that is least like those that are chosen already."""
    tokens = {task.id: mixed(task.task.instruction) for task in (*handful, *before)}
    chosen = list(before)
    left = list(handful)
    for _ in range(n):
        nearest = [
            max((rouge_l(tokens[c.id], tokens[task.id]).f for c in chosen), default=0.0)
            for task in left
        ]
        chosen.append(left.pop(nearest.index(min(nearest))))
    return chosen[len(before) :]
