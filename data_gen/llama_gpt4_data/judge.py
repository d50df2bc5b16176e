"""`llama-gpt4 evaluate metric=judge`: a judge such as GPT-4 compares answers of models in pairs, as
Vicuna's authors and the paper had it do, but in both orders."""

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError, require, require_one_of
from llama_gpt4.files import write_json, write_jsonl
from llama_gpt4.help import wants_help
from llama_gpt4.program import hold, run_program
from llama_gpt4.records import read_bytes
from llama_gpt4_data.estimable import Estimable
from llama_gpt4_data.generate import Generated, generate
from llama_gpt4_data.journal import Journal
from llama_gpt4_data.judge_answers import Entered, read_categories, read_entered
from llama_gpt4_data.judge_config import JudgeConfig
from llama_gpt4_data.judge_items import JudgingItem, judging_items, once, pairs_of
from llama_gpt4_data.judge_prompts import PROMPTS, judging_messages
from llama_gpt4_data.judge_records import Judgement, Known, known_answers, read_judgements
from llama_gpt4_data.judge_result import judgement_counts, result
from llama_gpt4_data.judge_table import table
from llama_gpt4_data.task import Counted, raise_trouble, report, require_apart
from llama_gpt4_data.worker import replies_to

PROGRAM = "evaluate/judge"
OUTPUTS = ("judgements.jsonl", "judge.json", "report.json")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if wants_help(PROGRAM, JudgeConfig, arguments):
        return 0
    return run_program("evaluate metric=judge", lambda report: run(arguments))


def items(config: JudgeConfig) -> list[JudgingItem]:
    if config.reviews:
        raise InputError("reviews are there already: it costs nothing to read them")
    return once(list(judging_items(_entered(config).questions, config)))


ESTIMABLE = Estimable(
    program=PROGRAM,
    schema=JudgeConfig,
    items=items,
    endpoint=lambda config: config.judge,
    replies=lambda config: "judgement",
    per_limit=lambda config: (
        2 * config.repeats * len(pairs_of(list(config.answers), config.opponent))
    ),
)


def run(arguments: Sequence[str]) -> None:
    """Have the answers judged, or read judgements, and write what they come to."""
    config = compose(JudgeConfig, PROGRAM, arguments)
    output_dir = Path(config.run.output_dir)
    named = [*config.answers.values(), *config.reviews, config.questions or ""]
    require_apart(named, output_dir, OUTPUTS)
    given = _read(config) if config.reviews else _entered(config)
    lock = hold(output_dir, key="run.output_dir")
    try:
        judgements, settings = _ask(config, given) if isinstance(given, Entered) else given
        found = result(settings, judgements, config.opponent, config.ranking)
        write_jsonl(output_dir / "judgements.jsonl", (each.line() for each in judgements))
        _require_some(found, output_dir)
        write_json(output_dir / "judge.json", found)
    finally:
        os.close(lock)
    print(table(found, config.opponent))
    print(f"\n{output_dir}/judge.json, judgements.jsonl", flush=True)


def _require_some(found: dict[str, Any], output_dir: Path) -> None:
    if not any(pair["questions"] for pair in found["pairs"]):
        reasons = ", ".join(found["judgements"]["failures"])
        raise InputError(
            f"no question has a score in every order ({reasons}): see {output_dir}/judgements.jsonl"
        )


def _entered(config: JudgeConfig) -> Entered:
    assert config.questions is not None
    return read_entered(config.questions, config.answers, config.missing, config.limit)


def _ask(config: JudgeConfig, entered: Entered) -> tuple[list[Judgement], dict[str, Any]]:
    """All judgements that the answers need: by pairs, questions, orders and repeats."""
    wanted = list(judging_items(entered.questions, config))
    asked = once(wanted)
    generated, journal = generate(asked, config.run, config.judge, config.prices, task="judge")
    failed = {asked[place].key: why for place, why in generated.failures.items()}
    judgements = [_judgement(item, journal, failed.get(item.key)) for item in wanted]
    _report(config, asked, journal, generated)
    settings = _settings(config) | {
        "questions_left_out": entered.n_left_out,
        "answers": {
            model: counts | {"sha256": _sha256(counts["file"])}
            for model, counts in entered.counts.items()
        },
    }
    return [judgement for judgement in judgements if judgement is not None], settings


def _judgement(item: JudgingItem, journal: Journal, failure: str | None) -> Judgement | None:
    """None: it was not asked to the end."""
    replies, request = replies_to(item, journal)
    if request is not None and failure is None:
        return None
    return item.judgement(replies if request is None else [], failure)


def _report(
    config: JudgeConfig, asked: Sequence[JudgingItem], journal: Journal, generated: Generated
) -> None:
    """What became of the requests and what they cost; ends the program where some are left."""
    failed = {asked[place].key: why for place, why in generated.failures.items()}
    ended = [_judgement(item, journal, failed.get(item.key)) for item in asked]
    judged = [judgement for judgement in ended if judgement is not None]
    counts = judgement_counts(judged)
    counted = Counted(n_open=len(ended) - len(judged))
    written = report("judge", counted, generated, config.judge) | {
        "items": len(asked),
        "records": counts["scored"],
        "failed": counts["missing"],
        "failures": counts["failures"],
        "findings": counts["findings"],
    }
    write_json(Path(config.run.output_dir) / "report.json", written)
    raise_trouble(generated, counted, config.run)


def _read(config: JudgeConfig) -> tuple[list[Judgement], dict[str, Any]]:
    """The judgements of `reviews`; the files of answers tell whose answers, and how long."""
    categories = {} if config.questions is None else read_categories(config.questions)
    known = Known(categories, known_answers(config.answers))
    judgements = read_judgements(config.reviews, known)
    models = tuple(dict.fromkeys(model for each in judgements for model in each.models))
    if config.opponent is not None:
        require_one_of("opponent", config.opponent, models)
        for each in judgements:
            require(
                config.opponent in each.models,
                f"reviews judge {' : '.join(each.models)}, without opponent={config.opponent}: "
                "leave the file out, or take opponent=null",
            )
    settings = _settings(config)
    settings["reviews"] = {file: _sha256(file) for file in config.reviews}
    return judgements, settings


def _settings(config: JudgeConfig) -> dict[str, Any]:
    """What decides the numbers."""
    settings: dict[str, Any] = {
        "questions": config.questions,
        "questions_sha256": None if config.questions is None else _sha256(config.questions),
        "opponent": config.opponent,
    }
    if config.reviews:
        return settings
    prompts = {
        name: str(judging_messages(name, "{question}", "{answer_1}", "{answer_2}"))
        for name in PROMPTS
    }
    return settings | {
        "limit": config.limit,
        "missing": config.missing,
        "repeats": config.repeats,
        "policy": asdict(config.policy),
        "judge": config.judge.model,
        "endpoint": config.judge.address,
        "parameters": config.judge.parameters,
        "prompts_sha256": {
            name: hashlib.sha256(text.encode()).hexdigest() for name, text in prompts.items()
        },
    }


def _sha256(file: str) -> str:
    return hashlib.sha256(read_bytes(file)).hexdigest()
