"""Models answer a file of questions; an interrupted file goes on where it stopped."""

import importlib
import os
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Quote, QuotedString

from llama_gpt4.answer_lines import Asked, answer_line, append, asked, read_finished
from llama_gpt4.compose import compose
from llama_gpt4.decoding import DecodingConfig
from llama_gpt4.errors import Preempted, require, require_one_of
from llama_gpt4.help import wants_help
from llama_gpt4.hub import local_snapshot
from llama_gpt4.program import ExitReport, StopRequest, run_program
from llama_gpt4.questions import Question, read_questions
from llama_gpt4.vllm_engine import require_installed

if TYPE_CHECKING:
    from llama_gpt4 import generation
    from llama_gpt4.chat_tokens import Row
    from llama_gpt4.vllm_engine import VllmGenerator

PATHS = {"model": "model.path", "model.path": "model.path"}
"""Arguments that name a file, with their keys. `model` alone is the name of a config group of
training, so Hydra would look for a model of ours that is called like the folder."""

ENGINES = ("transformers", "vllm", "endpoint")
ENDPOINT = "llama_gpt4_data.question_answers"
"""Answers with `engine=endpoint`, which has other keys. It is named and not imported, since it lies
in a room above this one."""


@dataclass(kw_only=True)
class TrainedModel:
    """A model of ours or of the hub, for the programs that take one."""

    path: str
    """A folder that `export` wrote (`run_dir/model`), or a model of the hub; `model=…` is short."""


@dataclass(kw_only=True)
class AnswerConfig:
    """Which models answer which questions."""

    models: list[str]
    """Folders that `export` wrote (`run_dir/model`), or models of the hub, one after the other.
    `model=…` is short for one, and `model=[…,…]` for several."""
    engine: str
    """`transformers`; or `vllm`, where that is installed. `endpoint` asks a model behind an address
    and has other keys: `llama-gpt4 answer engine=endpoint --help`."""
    questions: str
    """JSON or JSONL of Alpaca records, Vicuna questions, the 252 user-oriented instructions or
    Unnatural Instructions; `sample:en` and `sample:zh` are the shipped records."""
    output: str
    """The file of answers, one JSON object a line; or the folder of the models' files, `a.jsonl`
    for `runs/a/model` or `hub/a`, which several models need. What is there already is not asked
    again, and a file with answers to other questions is refused."""
    samples: int
    """Answers to each question."""
    batch_size: int
    """Answers made at once; memory grows with it."""
    decoding: DecodingConfig
    seed: int
    """Of drawn answers."""
    device: str
    """`cpu` in float32, `cuda` in the model's own precision, or `auto`: CUDA where there is one."""

    def __post_init__(self) -> None:
        require(
            bool(self.models), "models is empty: name at least one, as in model=runs/tiny/model"
        )
        require(self.samples > 0, f"samples={self.samples} must be positive")
        require(
            self.samples == 1 or self.decoding.temperature > 0,
            f"samples={self.samples} would all be the same at decoding.temperature=0: raise it, or "
            "take decoding=paper",
        )
        require(self.batch_size > 0, f"batch_size={self.batch_size} must be positive")
        require(self.seed >= 0, f"seed={self.seed} is negative")
        require_one_of("device", self.device, ("auto", "cpu", "cuda"))
        require_one_of("engine", self.engine, ENGINES)
        if self.engine == "vllm":
            require(
                self.device == "auto", f"device={self.device}: vLLM chooses its own; leave it away"
            )
            require_installed()
        if len(self.models) > 1:
            self._require_files_of_their_own()

    def _require_files_of_their_own(self) -> None:
        require(
            not Path(self.output).is_file(),
            f"output={self.output} is a file: several models take a folder",
        )
        taken: dict[str, str] = {}
        for model in self.models:
            name = _short_name(model)
            require(
                name not in taken,
                f"models: {taken.get(name)} and {model} would both be answered in {name}.jsonl: "
                "give one of them a line of its own",
            )
            taken[name] = model

    @property
    def _is_folder(self) -> bool:
        return self.output.endswith("/") or Path(self.output).is_dir()

    @property
    def outputs(self) -> list[Path]:
        """The file of each model."""
        if len(self.models) == 1 and not self._is_folder:
            return [Path(self.output)]
        return [Path(self.output) / f"{_short_name(model)}.jsonl" for model in self.models]


def _short_name(model: str) -> str:
    """What a file of answers is called: training calls each of its models `model`."""
    path = Path(os.path.abspath(model))
    return path.parent.name if path.name == "model" else path.name


def main(argv: Sequence[str] | None = None) -> int:
    """`llama-gpt4 answer …`: the exit code."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if "engine=endpoint" in arguments:
        rest = [argument for argument in arguments if not argument.startswith("engine=")]
        code: int = importlib.import_module(ENDPOINT).main(rest)
        return code
    arguments = as_text(arguments)
    if wants_help("answer", AnswerConfig, arguments):
        return 0
    return run_program("answer", lambda report: run(arguments, report))


@dataclass(frozen=True)
class Task:
    """What one model still has to answer."""

    folder: Path
    output: Path
    made_by: dict[str, Any]
    reasons: dict[Asked, str]
    """The `finish_reason` of each answer that there is."""
    todo: dict[Asked, Question]
    rows: "list[Row]"
    """The prompts of `todo`."""


def run(arguments: Sequence[str], report: ExitReport) -> None:
    """Have each model answer what its file does not answer yet, and say what the file holds."""
    config = compose(AnswerConfig, "answer", arguments)
    questions = read_questions(config.questions)
    # All is looked at before the first model begins, as it may take hours.
    tasks = [
        _task(config, model, output, questions)
        for model, output in zip(config.models, config.outputs, strict=True)
    ]
    stop = StopRequest() if any(task.todo for task in tasks) else None
    for task in tasks:
        if stop and task.todo:
            _see_through(config, task, stop)
        ended = sum(reason == "stop" for reason in task.reasons.values())
        print(
            f"{len(task.reasons)} answers, {ended} of them ended by the model itself "
            f"-> {task.output}",
            flush=True,
        )


def _see_through(config: AnswerConfig, task: Task, stop: StopRequest) -> None:
    """Add what is missing to the task's file."""
    # Closed at once where an error ends it: the thread that generates would outlive this program.
    with closing(_answers(config, task)) as found:
        for lines in found:
            if lines:
                append(task.output, lines)
            task.reasons.update({asked(line): line["finish_reason"] for line in lines})
            if stop.received:
                raise Preempted(
                    f"{len(task.reasons)} answers are in {task.output}; the same line goes on"
                )


def _task(config: AnswerConfig, model: str, output: Path, questions: Sequence[Question]) -> Task:
    decoding = config.decoding.described(config.seed)
    if config.engine != "transformers":
        decoding["engine"] = config.engine
    made_by = {"model": os.path.normpath(model), "decoding": decoding}
    texts = {str(question.question_id): question.text for question in questions}
    reasons = read_finished(output, made_by, texts)
    todo = {
        (str(question.question_id), sample): question
        for question in questions
        for sample in range(config.samples)
        if (str(question.question_id), sample) not in reasons
    }
    if not todo:
        return Task(Path(model), output, made_by, reasons, todo, [])
    folder = local_snapshot(model)
    return Task(folder, output, made_by, reasons, todo, _rows(folder, todo))


def _rows(folder: Path, todo: Mapping[Asked, Question]) -> "list[Row]":
    """What the model in `folder` is given; an `InputError` where a question is too long for it."""
    from llama_gpt4.chat_tokens import ChatTokens, Row

    tokens = ChatTokens.load(folder)
    rows = []
    for (id, sample), question in todo.items():
        prompt = tokens.prompt([question.message])
        tokens.require_room(prompt, f"question {id}")
        rows.append(Row(key=id, sample=sample, prompt=prompt))
    return rows


def _answers(config: AnswerConfig, task: Task) -> Generator[list[dict[str, Any]]]:
    """The lines of answers as they get ready, a list a time."""
    from tqdm import tqdm

    generator = _generator(config, task.folder)
    found = generator.answers(task.rows, config.decoding, config.seed, config.batch_size)
    with tqdm(total=len(task.rows), unit="answer") as progress:
        for answers in found:
            yield [
                answer_line(
                    task.todo[row.key, row.sample],
                    row.sample,
                    answer.text,
                    task.made_by,
                    answer.finish_reason,
                )
                for row, answer in answers
            ]
            progress.update(len(answers))


def _generator(config: AnswerConfig, folder: Path) -> "generation.Generator | VllmGenerator":
    if config.engine == "vllm":
        from llama_gpt4.vllm_engine import VllmGenerator

        return VllmGenerator(folder)
    from llama_gpt4.generation import Generator as TransformersGenerator

    return TransformersGenerator.load(folder, config.device)


def as_text(arguments: Sequence[str]) -> list[str]:
    """Paths are taken to the letter, and a single model as a list of one."""
    found = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key not in ("model", "model.path", "models") or not value:
            found += quote_values([argument], {"questions": "questions", "output": "output"})
        elif value.startswith("[") and value.endswith("]") and not os.path.exists(value):
            found.append(f"models={value}")
        else:
            found.append(f"models=[{QuotedString(value, Quote.single).with_quotes()}]")
    return found


def quote_values(arguments: Sequence[str], keys: Mapping[str, str]) -> list[str]:
    """`arguments`, those of `keys` renamed and quoted, so that Hydra takes their text as it stands;
    `null` stays what it is.

    Its grammar gives commas, braces and quotes a meaning and knows no letters but A to Z.
    """

    def quoted(value: str) -> str:
        return value if value == "null" else QuotedString(value, Quote.single).with_quotes()

    return [
        f"{keys[key]}={quoted(value)}" if equals and key in keys and value else argument
        for argument in arguments
        for key, equals, value in [argument.partition("=")]
    ]


if __name__ == "__main__":
    sys.exit(main())
