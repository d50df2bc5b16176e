"""`llama-gpt4 data push`: a data set and its card to the Hugging Face hub, private unless told
otherwise."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from llama_gpt4.compose import compose
from llama_gpt4.config import require
from llama_gpt4.errors import InputError
from llama_gpt4.help import wants_help
from llama_gpt4.program import run_program
from llama_gpt4_data.card import TERMS

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
    """Whether a new repository is for its owners' eyes only."""

    def __post_init__(self) -> None:
        owner, slash, name = self.repo.partition("/")
        require(
            bool(owner and slash and name) and "/" not in name,
            f"repo={self.repo} is no name of a repository: write owner/name",
        )


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
    print(pushed(folder, config), flush=True)


def require_card(folder: Path) -> None:
    """Refuse a folder without data, or whose card does not say under what licence and terms."""
    if not (folder / "data.json").is_file():
        raise InputError(f"output_dir={folder} holds no data.json: it is a task's run.output_dir")
    path = folder / "README.md"
    advice = "the line that made the data set writes it anew and pays for nothing"
    if not path.is_file():
        raise InputError(f"output_dir={folder} has no card, README.md: {advice}")
    text = path.read_text(encoding="utf-8", errors="replace")
    _, dashes, rest = text.partition("---\n")
    try:
        head = yaml.safe_load(rest.partition("\n---")[0]) if dashes else None
    except yaml.YAMLError:
        head = None
    licence = head.get("license") if isinstance(head, dict) else None
    if not licence:
        raise InputError(f"{path} names no `license` between its first two lines of ---: {advice}")
    if not text.partition(TERMS)[2].strip():
        raise InputError(f"{path} has nothing below `{TERMS}`: {advice}")


def pushed(folder: Path, config: PushConfig) -> str:
    """Upload `folder`; the address where it is now."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HTTPError
    from huggingface_hub.utils import disable_progress_bars

    token = get_token()
    if token is None:
        raise InputError("the hub knows nobody here: `hf auth login`, or export HF_TOKEN=…")
    disable_progress_bars()
    hub = HfApi(token=token)
    try:
        url = hub.create_repo(
            config.repo, repo_type="dataset", private=config.private, exist_ok=True
        )
        hub.upload_folder(
            repo_id=config.repo,
            repo_type="dataset",
            folder_path=folder,
            allow_patterns=list(FILES),
            commit_message="Data made with llama-gpt4",
        )
    except (OSError, ValueError, HTTPError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"repo={config.repo} did not take it: {reason[:300]}") from None
    return f"{folder} is at {url}"
