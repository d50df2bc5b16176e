"""The Hugging Face hub: from a name that a user wrote to a folder on this machine, and back."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llama_gpt4.errors import InputError

log = logging.getLogger(__name__)

TOKENIZER_FILES = (
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)
"""All that decides how a tokenizer works; the last two are of those of GPT-2's kind."""
MODEL_FILES = ("tokenizer.model", "merges.txt", "*.json", "*.safetensors", "*.jinja")
"""Tokenizer, configuration, weights, chat template. Nothing that is pickled."""
UNWANTED = ("original/*", "consolidated*")
"""The same weights once more, in their makers' own format."""


def local_snapshot(
    path: str, *, key: str = "model.path", wanted: tuple[str, ...] = MODEL_FILES
) -> Path:
    """The folder that `path` means: itself, or a snapshot of that model of the Hugging Face hub.

    `key` is where the user wrote it, for messages. Ranks may call it all at once: the hub's client
    locks each file, and a snapshot that is here already needs no network.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise InputError(f"{key}={path} is a file: name the folder that it is in")
    if path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise InputError(f"{key}={path} does not exist")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HTTPError

    try:
        return Path(
            snapshot_download(path, allow_patterns=list(wanted), ignore_patterns=list(UNWANTED))
        )
    except (OSError, ValueError, HTTPError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise InputError(
            f"{key}={path} is neither a folder nor a model that the hub gives us: {reason}"
        ) from None


def hub_card(name: str, kind: str) -> str:
    """README.md of a `model` or `dataset` of the hub; empty where there is none to be had."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError

    try:
        path = hf_hub_download(name, "README.md", repo_type=kind)
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError, HTTPError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        log.warning("%s: the hub gives us no card of it: %s", name, reason)
        return ""


def weight_files(folder: Path, single: str) -> list[Path]:
    """The one file, else the shards of its index: what transformers would read."""
    if (folder / single).exists():
        return [folder / single]
    index = folder / f"{single}.index.json"
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        is_sound = bool(names) and all(Path(name).name == name for name in names)
    except OSError as error:
        raise InputError(f"{index} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        is_sound = False
    if not is_sound:
        raise InputError(f"{index} does not map weights to files beside it: fetch it anew")
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise InputError(f"{folder} lacks {missing[0]}, which {index.name} names: fetch it anew")
    return [folder / name for name in names]


@dataclass(frozen=True)
class Upload:
    """What goes to the hub, and where."""

    repo: str
    """`owner/name`; made if it is not there."""
    kind: str
    """`model` or `dataset`."""
    private: bool
    files: Sequence[str]
    """Patterns of the files that others get to see."""
    replaced: Sequence[str]
    """Patterns of files of an earlier upload that go, unless this one has them too: what a model or
    data set in fewer parts would leave behind is still read by some."""
    message: str
    """Of the one commit."""


def require_repository(repo: str) -> None:
    """Refuse what is no name of a repository."""
    owner, _, name = repo.partition("/")
    if not (owner and name) or "/" in name:
        raise InputError(f"repo={repo} is no name of a repository: write owner/name")


def uploaded(folder: Path, upload: Upload) -> str:
    """Upload `folder` in one commit; the address where it is now."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HTTPError
    from huggingface_hub.utils import disable_progress_bars

    token = get_token()
    if token is None:
        raise InputError("the hub knows nobody here: `hf auth login`, or export HF_TOKEN=…")
    disable_progress_bars()
    hub = HfApi(token=token)
    repo, kind = upload.repo, upload.kind
    try:
        url = hub.create_repo(repo, repo_type=kind, private=upload.private, exist_ok=True)
        if upload.private and not hub.repo_info(repo, repo_type=kind).private:
            raise InputError(f"repo={repo} is public already: private=false says that it may be")
        hub.upload_folder(
            repo_id=repo,
            repo_type=kind,
            folder_path=folder,
            allow_patterns=list(upload.files),
            delete_patterns=list(upload.replaced),
            commit_message=upload.message,
        )
    except (OSError, ValueError, HTTPError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"repo={repo} did not take it: {reason[:300]}") from None
    return str(url)
