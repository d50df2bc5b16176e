"""`llama-gpt4 evaluate metric=reward`: what any exported reward model has learnt, on comparisons of
any layout, RewardBench's among them; without training."""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from llama_gpt4.answer import PATHS, TrainedModel, quote_values
from llama_gpt4.architecture import described
from llama_gpt4.compose import compose
from llama_gpt4.data_config import FilesPolicy, ValidationConfig
from llama_gpt4.errors import InputError, require
from llama_gpt4.help import wants_help
from llama_gpt4.program import run_program
from llama_gpt4_data.comparisons import Comparison, read_comparisons
from llama_gpt4_data.reward_backbone import positions, reward_model_folder
from llama_gpt4_data.reward_config import ComparisonFilesConfig
from llama_gpt4_data.reward_examples import Compared, open_part, part_lines

PROGRAM = "evaluate/reward"
PART = "evaluation"
UNLIMITED = 2**31


@dataclass(kw_only=True)
class RewardEvaluationConfig:
    """Which reward model is judged by which comparisons. Responses that are longer than its
    positions are left out and counted."""

    model: TrainedModel
    files: list[str]
    """Comparisons in any published layout, as JSON, JSONL or Parquet; RewardBench's too."""
    output_dir: str
    """Where `reward_report.json` and `reward_report.png` are written."""

    def __post_init__(self) -> None:
        require(bool(self.files), "files is empty: name at least one file of comparisons")


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    arguments = quote_values(arguments, PATHS | {"output_dir": "output_dir"})
    if wants_help(PROGRAM, RewardEvaluationConfig, arguments):
        return 0
    return run_program("evaluate metric=reward", lambda report: run(arguments))


def run(arguments: Sequence[str]) -> None:
    """Judge what the command line asks for."""
    config = compose(RewardEvaluationConfig, PROGRAM, arguments)
    model = reward_model_folder(config.model.path)
    comparisons = read_comparisons(config.files)
    from llama_gpt4_data.reward_report import report
    from llama_gpt4_data.reward_table import publish
    from llama_gpt4_data.score import Scorer

    with tempfile.TemporaryDirectory() as folder:
        compared = tokenised(comparisons, config.files, model, Path(folder))
        found = report(compared, Scorer(model).rewards_of(compared), train=None)
    publish(Path(config.output_dir), "prompts", found, asdict(config))


def tokenised(
    comparisons: Sequence[Comparison], files: list[str], model: Path, folder: Path
) -> Compared:
    """The `comparisons` of `files` as `model` reads them, kept in `folder`."""
    from llama_gpt4_data.reward_writer import Writer
    from llama_gpt4_data.score import encoder

    longest = positions(described(model))
    data = ComparisonFilesConfig(
        files=files,
        row_tokens=longest or UNLIMITED,
        policy=FilesPolicy(too_long="drop"),
        out_of_range="keep",
        cache_dir=str(folder),
        validation=ValidationConfig(files=[], share=0.0),
    )
    writer = Writer(data, PART, False, folder, np.dtype(np.uint32))
    try:
        counts = writer.write(comparisons, encoder(model))
    except InputError:
        n = len(writer.lengths)
        if n and len(writer.too_long) == n:  # that of a training would name its key
            raise InputError(
                f"all {n} responses are longer than the {longest} positions of {model}"
            ) from None
        raise
    print(*part_lines(PART, counts), sep="\n", flush=True)
    return open_part(folder, "uint32", writer.names, files)


if __name__ == "__main__":
    sys.exit(main())
