"""`llama-gpt4 data push`: a data set and its card to the Hugging Face hub, private unless told
otherwise."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llama_gpt4.cards import TERMS, card_licences, card_terms
from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError
from llama_gpt4.help import wants_help
from llama_gpt4.hub import Upload, require_repository, uploaded
from llama_gpt4.program import run_program

PROGRAM = "data_gen/push"
FILES = ("README.md", "data.json", "data.jsonl", "judgements.jsonl", "arrow/*")
"""What others get to see: neither failures nor what it cost."""


@dataclass(kw_only=True)
class PushConfig:
    """What goes where."""

    output_dir: str
    """`run.output_dir` of the run that made the data set."""
    repo: str
    """`owner/name`; made if it is not there. The token is that of `hf auth login` or HF_TOKEN."""
    private: bool
    """For its owners' eyes only. A repository that others see already needs `false`."""

    def __post_init__(self) -> None:
        require_repository(self.repo)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if wants_help(PROGRAM, PushConfig, arguments):
        return 0
    return run_program("data push", lambda report: run(arguments))


def run(arguments: Sequence[str]) -> None:
    """Upload the folder in one commit."""
    config = compose(PushConfig, PROGRAM, arguments)
    folder = Path(config.output_dir).expanduser()
    require_card(folder)
    upload = Upload(
        repo=config.repo,
        kind="dataset",
        private=config.private,
        files=FILES,
        replaced=("arrow/*",),
        message="Data made with llama-gpt4",
    )
    print(f"{folder} is at {uploaded(folder, upload)}", flush=True)


def require_card(folder: Path) -> None:
    """Refuse a folder without data, or whose card does not say under what licence and terms."""
    if not (folder / "data.json").is_file():
        raise InputError(f"output_dir={folder} holds no data.json: it is a task's run.output_dir")
    path = folder / "README.md"
    advice = "the line that made the data set writes it anew and pays for nothing"
    if not path.is_file():
        raise InputError(f"output_dir={folder} has no card, README.md: {advice}")
    text = path.read_text(encoding="utf-8", errors="replace")
    if not card_licences(text):
        raise InputError(f"{path} names no `license` between its first two lines of ---: {advice}")
    if not card_terms(text):
        raise InputError(f"{path} has nothing below `{TERMS}`: {advice}")
