"""Rounds of prompts for new instructions: what is asked in each follows from seed, number and all
rounds before it, so that the same line asks the same again and finds it in the journal."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean

from llama_gpt4_data.endpoint_config import chat_request
from llama_gpt4_data.findings import reply_findings
from llama_gpt4_data.generate import Generated
from llama_gpt4_data.instruct_config import InstructConfig
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.requests import Reply, Request
from llama_gpt4_data.task_lists import (
    Read,
    Task,
    instructions_prompt,
    read_instructions,
    read_tasks,
    tasks_prompt,
)
from llama_gpt4_data.task_pool import Admission, PoolTask, TaskPool, draw
from llama_gpt4_data.worker import Item

Ask = Callable[[Sequence[Item]], tuple[Generated, Journal]]
"""Asks for all that is still missing."""


@dataclass(frozen=True)
class ListItem:
    """One prompt that a teacher is to go on with."""

    demonstrations: tuple[PoolTask, ...]
    round: int
    repeat: int
    """How often the same prompt was drawn before."""
    config: InstructConfig

    @property
    def key(self) -> str:
        return self._asked.key

    def request(self, replies: Sequence[Reply]) -> Request | None:
        return None if replies else self._asked

    def read(self, reply: Reply) -> Read:
        """What the teacher added to the list."""
        first, is_cut = len(self.demonstrations) + 1, "truncated" in reply_findings(reply)
        if self.config.reply == "instructions":
            return read_instructions(reply.text, first, is_cut=is_cut)
        return read_tasks(reply.text, first, self.config.language, is_cut=is_cut)

    @cached_property
    def _asked(self) -> Request:
        prompt = list_prompt(self.demonstrations, self.config)
        messages = [{"role": "user", "content": prompt}]
        return chat_request(self.config.teacher, messages, sample=self.repeat)


@dataclass(frozen=True)
class Offered:
    """A task that the teacher wrote, and what became of it."""

    task: Task
    admission: Admission
    item: ListItem
    reply: Reply


@dataclass(kw_only=True)
class Round:
    """What a round came to; its tasks are accepted or dropped, its prompts replied or failed."""

    number: int
    prompts: int
    failures: dict[str, str]
    """Why a prompt has no reply, by the request's key. They are not asked again: the rounds that
    follow were drawn without them."""
    unreadable: int = 0
    cut: int = 0
    tasks: int = 0
    accepted: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    nearest: float | None = None
    """Mean ROUGE-L F of an accepted instruction with the most similar earlier one."""

    def is_dry(self, least_new_frac: float) -> bool:
        return self.accepted <= least_new_frac * self.tasks


@dataclass
class Growth:
    """All that came of the rounds so far."""

    pool: TaskPool
    items: list[ListItem] = field(default_factory=list)
    """With a reply."""
    rounds: list[Round] = field(default_factory=list)
    offered: list[Offered] = field(default_factory=list)
    generated: Generated = field(default_factory=Generated)
    n_open: int = 0
    """Prompts of a round that was stopped; what of it has replies counts when it is whole."""
    ended: str = ""
    """`count`, `dry`, `rounds`, or `stopped`."""

    @property
    def accepted(self) -> list[Offered]:
        return [offered for offered in self.offered if offered.admission.rule is None]


def list_prompt(demonstrations: Sequence[PoolTask], config: InstructConfig) -> str:
    """A list that begins with `demonstrations`, and what is wanted of who goes on with it."""
    render = tasks_prompt if config.reply == "tasks" else instructions_prompt
    tasks = [demonstration.task for demonstration in demonstrations]
    return render(tasks, config.list_length, config.language)


def round_items(
    pool: TaskPool, config: InstructConfig, number: int, asked: Counter[str]
) -> list[ListItem]:
    """The prompts of round `number`; `asked` counts those of earlier ones."""
    items = []
    for demonstrations in draw(pool, config.demonstrations, number, config.rounds.prompts):
        prompt = list_prompt(demonstrations, config)
        items.append(ListItem(tuple(demonstrations), number, asked[prompt], config))
        asked[prompt] += 1
    return items


def grow(
    config: InstructConfig,
    seeds: Sequence[PoolTask],
    failures: Mapping[str, str],
    ask: Ask,
) -> Iterator[Growth]:
    """Round after round what there is by then; `failures` are those of an earlier start."""
    growth = Growth(TaskPool(seeds, config.filters, config.max_rouge_l))
    asked: Counter[str] = Counter()
    for number in range(config.rounds.most):
        items = round_items(growth.pool, config, number, asked)
        todo = [item for item in items if item.key not in failures]
        growth.generated, journal = ask([*growth.items, *todo])
        failed = {i.key: failures[i.key] for i in items if i.key in failures}
        failed |= {
            item.key: growth.generated.failures[place]
            for place, item in enumerate(todo, len(growth.items))
            if place in growth.generated.failures
        }
        replied = [item for item in todo if item.key in journal]
        growth.n_open = len(items) - len(failed) - len(replied)
        if growth.n_open:
            break
        _add_round(
            growth, Round(number=number, prompts=len(items), failures=failed), replied, journal
        )
        growth.ended = _end(growth, config)
        yield growth
        if growth.ended:
            return
    growth.ended = growth.ended or "stopped"
    yield growth


def _end(growth: Growth, config: InstructConfig) -> str:
    """Why no round follows; empty: one does."""
    if growth.generated.is_interrupted or growth.generated.trouble is not None:
        return "stopped"
    if len(growth.pool.machine) >= config.count:
        return "count"
    if growth.rounds[-1].is_dry(config.rounds.least_new_frac):
        return "dry"
    return "rounds" if len(growth.rounds) == config.rounds.most else ""


def _add_round(growth: Growth, told: Round, items: Sequence[ListItem], journal: Journal) -> None:
    """Take the new ones of the tasks in the replies to `items`, in their order."""
    nearest = []
    for item in items:
        reply = journal.reply(item.key)
        assert reply is not None
        read = item.read(reply)
        told.unreadable += read.n_unreadable
        told.cut += read.n_cut
        told.tasks += len(read.tasks)
        for task in read.tasks:
            admission = _admission(growth.pool, task, item.config)
            growth.offered.append(Offered(task, admission, item, reply))
            if admission.rule is not None:
                told.dropped[admission.rule] += 1
            else:
                told.accepted += 1
                nearest.append(max(admission.nearest.values(), default=0.0))
    told.nearest = fmean(nearest) if nearest else None
    growth.items += items
    growth.rounds.append(told)


def _admission(pool: TaskPool, task: Task, config: InstructConfig) -> Admission:
    if config.reply == "tasks" and not task.output:
        return Admission("no_output", {}, 0.0)
    return pool.admit(task)
