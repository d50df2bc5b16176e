"""From a name that a user wrote to a folder on this machine."""

from pathlib import Path

from llama_gpt4.errors import InputError

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
