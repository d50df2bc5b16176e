"""`llama-gpt4 evaluate metric=rouge`: ROUGE-1, -2 and -L of models' answers, by the length of the
reference, as in the paper's Figure 6.

Reported are plain means with bootstrap intervals over questions. The paper's numbers are medians of
bootstrap means, which is why its ROUGE-L may exceed its ROUGE-1; those stand beside them.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llama_gpt4 import statistics
from llama_gpt4.compose import compose
from llama_gpt4.errors import require, require_one_of
from llama_gpt4.evaluation.lengths import LENGTH_UNITS, LENGTH_UNITS_SAID
from llama_gpt4.evaluation.references import Questions, read_joined
from llama_gpt4.evaluation.results import require_apart
from llama_gpt4.evaluation.rouge_scores import (
    ALL,
    BUCKETS,
    MEASURES,
    Bucket,
    bucketed,
    score_questions,
)
from llama_gpt4.files import write_json
from llama_gpt4.help import wants_help
from llama_gpt4.program import ExitReport, run_program
from llama_gpt4.rouge import TOKENIZERS, Tokenizer
from llama_gpt4.statistics import Floats

log = logging.getLogger(__name__)

PROGRAM = "evaluate/rouge"
SHIFTED = 2000
"""Questions whose answers are compared with the reference of the next one."""
TOKENIZERS_SAID = {
    "mixed": "words in lower case; each Chinese, Japanese or Korean character is a token; NFKC",
    "latin": "lower-case runs of a-z and 0-9, as rouge-score; Chinese has none and scores 0",
}


@dataclass(kw_only=True)
class RougeConfig:
    """Whose answers are compared with which references."""

    references: str
    """JSON or JSONL whose records have the references: in `label` where the file has it, else in
    `output` (also within `instances`); or a file of answers, to compare models with a model."""
    answers: dict[str, str]
    """A file of answers a model, such as {tuned: a.jsonl, base: b.jsonl}: of `llama-gpt4 answer`,
    FastChat's, or records with `output`. Joined with the references by id, or by instruction and
    input where a file has no ids; of several answers to a question, their mean counts."""
    missing: str
    """A question that not all files have: refuse the files with an `error`, or `drop` it."""
    baseline: str | None
    """One of `answers`, from which the others' differences are given; null: none."""
    tokenizer: str
    """`mixed` has words, and Chinese by the character; `latin` is rouge-score's."""
    length_unit: str
    """What a reference is long in: `words`, each Chinese character one; or `whitespace`, the
    paper's, in which a Chinese sentence is one word."""
    output: str
    """The file of results."""

    def __post_init__(self) -> None:
        require(bool(self.answers), "answers is empty: name a file for at least one model")
        require_one_of("missing", self.missing, ("error", "drop"))
        require_one_of("tokenizer", self.tokenizer, tuple(TOKENIZERS))
        require_one_of("length_unit", self.length_unit, tuple(LENGTH_UNITS))
        if self.baseline is not None:
            require_one_of("baseline", self.baseline, tuple(self.answers))


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    if wants_help(PROGRAM, RougeConfig, arguments):
        return 0
    return run_program("evaluate", lambda report: run(arguments, report))


def run(arguments: Sequence[str], report: ExitReport) -> None:
    """Score, write the results, and print them as a table."""
    config = compose(RougeConfig, PROGRAM, arguments)
    require_apart(config.output, [config.references, *config.answers.values()])
    questions = read_joined(config.references, config.answers, config.missing)
    tokenize = TOKENIZERS[config.tokenizer]
    scores = np.stack(
        [score_questions(questions.references, texts, tokenize) for texts in _texts(questions)]
    )
    models = list(config.answers)
    shifted = _shifted(questions, tokenize)
    _warn_of_strangers(models, scores, shifted)
    lengths = list(map(LENGTH_UNITS[config.length_unit], questions.references))
    baseline = None if config.baseline is None else models.index(config.baseline)
    buckets = bucketed(lengths, scores, baseline)
    result = _result(config, questions, buckets, shifted)
    write_json(Path(config.output), result)
    print("\n".join([*table(buckets, models), *differences(buckets[-1], models, config.baseline)]))
    print(f"\ntokens: {result['tokenizer']}\nlengths: {result['length_unit']}")
    print(f"{len(questions.ids):,} questions -> {config.output}")


def table(buckets: Sequence[Bucket], models: Sequence[str]) -> list[str]:
    """Lines of plain means with intervals."""
    width = max(map(len, ("model", *models)))
    lines = [f"{'words':<6} {'n':>7}  {'model':<{width}}  {'ROUGE-1':<22} {'ROUGE-2':<22} ROUGE-L"]
    for bucket in buckets:
        for model, means in zip(models, bucket.means, strict=bool(bucket.items)):
            cells = " ".join(f"{mean.plain!s:<22}" for mean in means)
            shown = f"{bucket.name:<6} {bucket.items:>7,}  {model:<{width}}  {cells}"
            lines.append(shown.rstrip())
    return lines


def differences(bucket: Bucket, models: Sequence[str], baseline: str | None) -> list[str]:
    """Lines of how far the models are from the baseline, over the questions of `bucket`."""
    return [
        f"{bucket.name}, ROUGE-L of {model} minus {baseline}: {of_model[-1]}"
        for model, of_model in zip(models, bucket.differences, strict=False)
        if model != baseline
    ]


def _texts(questions: Questions) -> list[list[list[str]]]:
    return list(questions.answers.values())


def _shifted(questions: Questions, tokenize: Tokenizer) -> list[float]:
    """Mean ROUGE-L of each model's answers with the reference of the next question: what texts of
    the same kind have in common that do not belong together. About `SHIFTED` of them will do."""
    places = range(0, len(questions.ids), max(1, len(questions.ids) // SHIFTED))
    moved = [questions.references[(place + 1) % len(questions.ids)] for place in places]
    return [
        float(score_questions(moved, [texts[place][:1] for place in places], tokenize)[:, 2].mean())
        for texts in _texts(questions)
    ]


def _warn_of_strangers(models: Sequence[str], scores: Floats, shifted: Sequence[float]) -> None:
    """`scores` (M, N, 3). Ids cannot show that a file's answers have slipped against its ids."""
    for model, of_model, by_chance in zip(models, scores, shifted, strict=True):
        own = of_model[:, 2].mean()
        if len(of_model) > 1 and own <= by_chance > 0:
            log.warning(
                "answers.%s meet the references of other questions as well as their own (ROUGE-L "
                "%.3f and %.3f): are ids and answers of the file still together?",
                model, by_chance, own,
            )  # fmt: skip


def _result(
    config: RougeConfig, questions: Questions, buckets: list[Bucket], shifted: list[float]
) -> dict[str, Any]:
    models = list(config.answers)
    return {
        "metric": "rouge",
        "settings": asdict(config),
        "tokenizer": TOKENIZERS_SAID[config.tokenizer],
        "length_unit": LENGTH_UNITS_SAID[config.length_unit],
        "stemming": False,
        "score": "F",
        "aggregation": "mean over questions; low and high by the bootstrap over questions",
        "resamples": statistics.RESAMPLES,
        "confidence": statistics.CONFIDENCE,
        "questions": len(questions.ids),
        "left_out": questions.left_out,
        "unknown_answers": questions.unknown,
        "duplicates": questions.duplicates,
        "empty_references": sum(not text.strip() for text in questions.references),
        "empty_answers": {
            model: sum(not text.strip() for group in texts for text in group)
            for model, texts in questions.answers.items()
        },
        "rougeL_of_next_reference": dict(zip(models, shifted, strict=True)),
        "models": models,
        "buckets": [_shown(bucket, models) for bucket in buckets],
    }


def _shown(bucket: Bucket, models: list[str]) -> dict[str, Any]:
    """A bucket as JSON; one without questions has no numbers."""
    first, last = (0, None) if bucket.name == ALL else BUCKETS[bucket.name]
    shown: dict[str, Any] = {
        "name": bucket.name, "from": first, "to": last, "questions": bucket.items
    }  # fmt: skip
    shown["means"] = {
        model: {
            measure: {**_as_json(mean.plain), "bootstrap_median": mean.median}
            for measure, mean in zip(MEASURES, means, strict=True)
        }
        for model, means in zip(models, bucket.means, strict=bool(bucket.items))
    }
    if bucket.differences:
        shown["minus_baseline"] = {
            model: dict(zip(MEASURES, map(_as_json, of_model), strict=True))
            for model, of_model in zip(models, bucket.differences, strict=True)
        }
    return shown


def _as_json(estimate: statistics.Estimate) -> dict[str, float]:
    return {"mean": estimate.value, "low": estimate.low, "high": estimate.high}
