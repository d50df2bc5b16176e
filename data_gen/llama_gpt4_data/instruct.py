"""`llama-gpt4 data instruct`: new instructions out of a few that people wrote, as Alpaca and
Self-Instruct made them, or in rounds that learn from one another, which the paper leaves open."""

import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError
from llama_gpt4.files import write_json, write_jsonl
from llama_gpt4.help import wants_help
from llama_gpt4.program import hold, run_program
from llama_gpt4_data.card import About
from llama_gpt4_data.estimable import Estimable
from llama_gpt4_data.generate import Generated, generate
from llama_gpt4_data.instances import InstanceItem
from llama_gpt4_data.instruct_config import InstructConfig
from llama_gpt4_data.instruct_rounds import ListItem, grow, list_prompt, round_items
from llama_gpt4_data.instructed import count_instances, count_tasks, round_json, round_line
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.task import raise_trouble, report, summary, write
from llama_gpt4_data.task_pool import PoolTask, TaskPool, read_seeds, require_seeds
from llama_gpt4_data.worker import Item

PROGRAM = "data_gen/instruct"


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if wants_help(PROGRAM, InstructConfig, arguments):
        return 0
    return run_program("data instruct", lambda report: run(arguments))


def seeds_of(config: InstructConfig) -> list[PoolTask]:
    seeds = read_seeds(config.seeds, config.language)
    require_seeds(seeds, config.demonstrations)
    return seeds


def items(config: InstructConfig) -> list[ListItem]:
    """The prompts of the first round; those of later ones are as long."""
    pool = TaskPool(seeds_of(config), config.filters, config.max_rouge_l)
    return round_items(pool, config, 0, Counter())


def rounds_at_least(config: InstructConfig) -> int:
    """Rounds that are needed if everything the teacher writes is new."""
    per_round = config.rounds.prompts * (config.list_length - config.demonstrations.per_prompt)
    return min(config.rounds.most, -(-config.count // per_round))


ESTIMABLE = Estimable(
    program=PROGRAM,
    schema=InstructConfig,
    items=items,
    endpoint=lambda config: config.teacher,
    replies=lambda config: f"{config.reply}_{config.language}",
    rounds=rounds_at_least,
)


def run(arguments: Sequence[str]) -> None:
    """Let the teacher write instructions round by round, and write those that are new."""
    config = compose(InstructConfig, PROGRAM, arguments)
    seeds = seeds_of(config)
    output_dir = Path(config.run.output_dir)
    lock = hold(output_dir, key="run.output_dir")

    def ask(wanted: Sequence[Item]) -> tuple[Generated, Journal]:
        return generate(wanted, config.run, config.teacher, config.prices, task="instruct")

    n_shown = 0
    for growth in grow(config, seeds, earlier_failures(output_dir), ask):
        for told in growth.rounds[n_shown:]:
            print(round_line(told, len(growth.pool.machine), config.count), flush=True)
        n_shown = len(growth.rounds)
        write_jsonl(output_dir / "rounds.jsonl", map(round_json, growth.rounds))
        # The next round has to know what this one may have paid for in vain.
        counted, generated = count_tasks(growth, config.teacher), growth.generated
        told_so_far = report("instruct", counted, generated, config.teacher)
        write_json(output_dir / "report.json", told_so_far)
    if config.reply == "instructions" and growth.ended != "stopped":
        wanted = [
            InstanceItem(task, tuple(seeds), config.language, config.teacher)
            for task in growth.pool.machine
        ]
        generated, journal = ask([*growth.items, *wanted])
        counted = count_instances(growth, wanted, generated, journal, config.teacher)
    write(about(config), config.run, counted, generated, config.teacher)
    os.close(lock)
    print(summary(counted, generated, output_dir), flush=True)
    raise_trouble(generated, counted, config.run)


def about(config: InstructConfig) -> About:
    return About(
        task="instruct",
        language=config.language,
        category="text-generation",
        frame=list_prompt([], config),
    )


def earlier_failures(output_dir: Path) -> dict[str, str]:
    """Prompts that failed in an earlier start of this run, by the request's key."""
    path = output_dir / "rounds.jsonl"
    found: dict[str, str] = {}
    try:
        for line in path.read_text(encoding="utf-8").split("\n"):
            found |= json.loads(line)["failures"] if line else {}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(f"{path} is no file of this program: move it away") from None
    return found
