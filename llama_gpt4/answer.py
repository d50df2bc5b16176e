"""A model answers a file of questions; an interrupted file goes on where it stopped."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from llama_gpt4.compose import compose
from llama_gpt4.config import require, require_one_of
from llama_gpt4.errors import InputError, Preempted
from llama_gpt4.help import wants_help
from llama_gpt4.hub import local_snapshot
from llama_gpt4.program import ExitReport, StopRequest, run_program
from llama_gpt4.questions import Question, read_questions

PATHS = {"model": "model.path", "model.path": "model.path"}
"""Arguments that name a file, with their keys. `model` alone is the name of a config group of
training, so Hydra would look for a model of ours that is called like the folder."""

LINE_KEYS = {
    "question_id",
    "question",
    "answer",
    "sample",
    "model",
    "decoding",
    "finish_reason",
}
LINE_START = b'{"question_id": '
"""How each line of ours begins, so that a cut one is told from a file of somebody else."""

Asked = tuple[str, int]
"""A question's id as text, and the number of the sample."""


@dataclass(kw_only=True)
class TrainedModel:
    path: str
    """A folder that `export` wrote (`run_dir/model`), or a model of the hub; `model=…` is short."""

    @property
    def name(self) -> str:
        """What files of answers call it: the path without detours."""
        return os.path.normpath(self.path)


@dataclass(kw_only=True)
class DecodingConfig:
    """How an answer is drawn from the model's distribution."""

    max_new_tokens: int
    """Longest answer; the model's end token counts."""
    temperature: float
    """0 takes the likeliest token; else logits are divided by it before one is drawn."""
    top_p: float
    """Draw from the likeliest tokens that together reach this probability; 1 draws from all."""

    def __post_init__(self) -> None:
        tokens = self.max_new_tokens
        require(tokens > 0, f"decoding.max_new_tokens={tokens} must be positive")
        require(
            0 <= self.temperature < float("inf"),
            f"decoding.temperature={self.temperature} must be 0 or a positive number",
        )
        require(0 < self.top_p <= 1, f"decoding.top_p={self.top_p} is not within (0, 1]")
        require(
            self.temperature > 0 or self.top_p == 1,
            f"decoding.top_p={self.top_p} changes nothing at decoding.temperature=0: leave it at 1",
        )

    def described(self, seed: int) -> dict[str, Any]:
        """What files of answers say about it; a seed decides nothing at temperature 0."""
        return asdict(self) | ({"seed": seed} if self.temperature else {})


@dataclass(kw_only=True)
class AnswerConfig:
    """Which model answers which questions."""

    model: TrainedModel
    questions: str
    """JSON or JSONL of Alpaca records, Vicuna questions, the 252 user-oriented instructions or
    Unnatural Instructions; `sample:en` and `sample:zh` are the shipped records."""
    output: str
    """The file of answers, one JSON object a line. What is in it already is not asked again, and a
    file with answers to other questions is refused."""
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
        require(self.samples > 0, f"samples={self.samples} must be positive")
        require(
            self.samples == 1 or self.decoding.temperature > 0,
            f"samples={self.samples} would all be the same at decoding.temperature=0: raise it, or "
            "take decoding=paper",
        )
        require(self.batch_size > 0, f"batch_size={self.batch_size} must be positive")
        require(self.seed >= 0, f"seed={self.seed} is negative")
        require_one_of("device", self.device, ("auto", "cpu", "cuda"))


def main(argv: Sequence[str] | None = None) -> int:
    paths = PATHS | {"questions": "questions", "output": "output"}
    arguments = quote_values(sys.argv[1:] if argv is None else argv, paths)
    if wants_help("answer", AnswerConfig, arguments):
        return 0
    return run_program("answer", lambda report: run(arguments, report))


def run(arguments: Sequence[str], report: ExitReport) -> None:
    """Answer what `output` does not answer yet, and say how many answers it holds."""
    config = compose(AnswerConfig, "answer", arguments)
    questions = read_questions(config.questions)
    output = Path(config.output)
    made_by = {"model": config.model.name, "decoding": config.decoding.described(config.seed)}
    texts = {str(question.question_id): question.text for question in questions}
    reasons = read_finished(output, made_by, texts)
    todo = [
        (question, sample)
        for question in questions
        for sample in range(config.samples)
        if (str(question.question_id), sample) not in reasons
    ]
    if todo:
        folder = local_snapshot(config.model.path)
        stop = StopRequest()
        for lines in _answers(config, folder, todo, made_by):
            append(output, lines)
            reasons |= {_asked(line): line["finish_reason"] for line in lines}
            if stop.received:
                raise Preempted(f"{len(reasons)} answers are in {output}; the same line goes on")
    stopped = sum(reason == "stop" for reason in reasons.values())
    print(f"{len(reasons)} answers, {stopped} of them ended by the model itself -> {output}")


def read_finished(
    output: Path, made_by: dict[str, Any], questions: Mapping[str, str]
) -> dict[Asked, str]:
    """What `output` holds: the `finish_reason` of each question and sample.

    A last line that an interruption cut is cut off the file. All lines must be `made_by` the same,
    and answer one of `questions`, texts by id.
    """
    if not output.exists():
        return {}
    try:
        content = output.read_bytes()
    except OSError as error:
        raise InputError(f"output={output} cannot be read: {error.strerror}") from None
    whole, newline, cut = content.rpartition(b"\n")
    finished = {}
    for number, text in enumerate(whole.split(b"\n") if newline else [], 1):
        line = _answer_line(text)
        if line is None:
            raise InputError(
                f"output={output} line {number} is no answer of this program: name another file"
            )
        for key, value in made_by.items():
            if line[key] != value:
                raise InputError(
                    f"output={output} holds answers of another {key} "
                    f"({_difference(line[key], value)}): name another file"
                )
        if questions.get(str(line["question_id"])) != line["question"]:
            raise InputError(
                f"output={output} line {number} answers another question than those now asked "
                f"(question_id {line['question_id']}): name another file"
            )
        finished[_asked(line)] = line["finish_reason"]
    if cut:
        if not cut.startswith(LINE_START[: len(cut)]):
            raise InputError(f"output={output} is no file of answers: name another file")
        os.truncate(output, len(whole) + len(newline))
    return finished


def append(output: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Add answers to the end of `output`, where they stay whatever happens to this process."""
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with open(output, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"output={output} cannot be written: {error.strerror}") from None


def _answers(
    config: AnswerConfig,
    folder: Path,
    todo: Sequence[tuple[Question, int]],
    made_by: dict[str, Any],
) -> Iterator[list[dict[str, Any]]]:
    """The lines of one batch after the other."""
    from tqdm import tqdm

    from llama_gpt4.generation import Generator, Row

    generator = Generator.load(folder, config.device)
    rows = []
    for question, sample in todo:
        prompt = generator.prompt([question.message])
        generator.require_room(prompt, f"question {question.question_id}")
        rows.append(Row(key=str(question.question_id), sample=sample, prompt=prompt))
    asked = {(str(question.question_id), sample): question for question, sample in todo}
    with tqdm(total=len(rows), unit="answer") as progress:
        batches = generator.answers(rows, config.decoding, config.seed, config.batch_size)
        for batch in batches:
            yield [
                {
                    "question_id": asked[row.key, row.sample].question_id,
                    "question": asked[row.key, row.sample].text,
                    **_input(asked[row.key, row.sample]),
                    "answer": answer.text,
                    "sample": row.sample,
                    **made_by,
                    "finish_reason": answer.finish_reason,
                }
                for row, answer in batch
            ]
            progress.update(len(batch))


def _input(question: Question) -> dict[str, str]:
    """The end of `question` that was its input: whoever renders the prompt again has to know."""
    return {"input": question.input} if question.input else {}


def _asked(line: dict[str, Any]) -> Asked:
    return str(line["question_id"]), line["sample"]


def _answer_line(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and line.keys() >= LINE_KEYS else None


def _difference(there: Any, here: Any) -> str:
    if not (isinstance(there, dict) and isinstance(here, dict)):
        return f"{there} there, {here} here"
    return "; ".join(
        f"{key}: {there.get(key)} there, {here.get(key)} here"
        for key in there | here
        if there.get(key) != here.get(key)
    )


def quote_values(arguments: Sequence[str], keys: Mapping[str, str]) -> list[str]:
    """`arguments`, those of `keys` renamed and quoted, so that Hydra takes their text as it stands.

    Its grammar gives commas, braces and quotes a meaning and knows no letters but A to Z.
    """
    return [
        f"{keys[key]}={QuotedString(value, Quote.single).with_quotes()}"
        if equals and key in keys and value
        else argument
        for argument in arguments
        for key, equals, value in [argument.partition("=")]
    ]


if __name__ == "__main__":
    sys.exit(main())
