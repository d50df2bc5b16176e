"""`output_dir/batches.json`: which batches were handed over, so that no end of this program loses
one. An entry stands there before its batch is made, and says when its answers are in the journal.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llama_gpt4.errors import InputError
from llama_gpt4.files import write_json, written_aside
from llama_gpt4_data.batch_lines import keys_of
from llama_gpt4_data.endpoint_config import EndpointConfig
from llama_gpt4_data.generation_config import BatchConfig


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A shard of requests that was handed over."""

    name: str
    """Of its file in `output_dir/batches`, which is there until the batch has ended."""
    n_requests: int
    input_file_id: str
    batch_id: str | None = None
    """None: not known; perhaps it was never made."""
    ended: str | None = None
    """How; all that it answered is in the journal."""
    n_replies: int | None = None
    """Of those, how many came from it."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the batches are, and where their answers go: all that is needed to end them."""

    endpoint: EndpointConfig
    journal_dir: str
    """The folder of the endpoint's model."""
    batch: BatchConfig


class BatchBook:
    """The entries in `output_dir`; every change is on the disk before anything follows from it."""

    def __init__(self, output_dir: Path, origin: Origin) -> None:
        self._path, self._folder = output_dir / "batches.json", output_dir / "batches"
        self.origin = origin
        self._entries = _read(self._path)[1] if self._path.exists() else []
        if self.under_way:
            self._require_same_endpoint()

    @classmethod
    def of(cls, output_dir: Path) -> "BatchBook":
        """The book with the origin that it names itself."""
        path = output_dir / "batches.json"
        if not path.exists():
            raise InputError(f"{path} does not exist: no batch was started from there")
        return cls(output_dir, _read(path)[0])

    @property
    def under_way(self) -> list[Entry]:
        return [entry for entry in self._entries if entry.ended is None]

    def next_name(self) -> str:
        return f"{len(self._entries) + 1:04d}"

    def put(self, entry: Entry) -> Entry:
        """Add `entry`, or let it take the place of the one with its name."""
        names = [known.name for known in self._entries]
        at = names.index(entry.name) if entry.name in names else len(names)
        self._entries[at : at + 1] = [entry]
        kept = {**asdict(self.origin), "batches": [asdict(known) for known in self._entries]}
        write_json(self._path, kept)
        if entry.ended is not None:
            self._shard(entry.name).unlink(missing_ok=True)
        return entry

    def write_shard(self, name: str, lines: Sequence[bytes]) -> bytes:
        """Keep the input of the batch that will be `name`, and give it as it is sent."""
        content = b"".join(lines)
        with written_aside(self._shard(name)) as file:
            file.write(content.decode())
        return content

    def keys(self, entry: Entry) -> set[str]:
        """Of the requests that `entry` is about."""
        path = self._shard(entry.name)
        try:
            return keys_of(path.read_bytes())
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"{path} cannot be read ({error}); it holds the requests of the batch "
                f"{entry.batch_id}, which is under way: put it back, or end the batch by "
                f"`llama-gpt4 data batch-cancel run.output_dir={self._path.parent}`"
            ) from error

    def _shard(self, name: str) -> Path:
        return self._folder / f"{name}.jsonl"

    def _require_same_endpoint(self) -> None:
        theirs, ours = _read(self._path)[0].endpoint, self.origin.endpoint
        if (theirs.address, theirs.model) != (ours.address, ours.model):
            raise InputError(
                f"{self._path}: batches of {theirs.model} at {theirs.address} are under way, not "
                f"of {ours.model} at {ours.address}: choose another run.output_dir, or end them by "
                f"`llama-gpt4 data batch-cancel run.output_dir={self._path.parent}`"
            )


def require_batches(endpoint: EndpointConfig) -> None:
    """Refuse an endpoint whose batches this program does not know."""
    if endpoint.kind == "azure":
        raise InputError(
            "run.mode=batch speaks OpenAI's Batch API; Azure's has addresses and deployments of "
            "its own and is not supported: ask with run.mode=live"
        )


def has_batches(output_dir: Path) -> bool:
    """Whether any is under way."""
    path = output_dir / "batches.json"
    return path.exists() and any(entry.ended is None for entry in _read(path)[1])


def require_no_batches(output_dir: Path) -> None:
    """Refuse to ask, request by request, for what batches may be about to answer."""
    if has_batches(output_dir):
        raise InputError(
            f"run.mode=live, but {output_dir}/batches.json has batches under way: go on with "
            "run.mode=batch, or end them by "
            f"`llama-gpt4 data batch-cancel run.output_dir={output_dir}`"
        )


def _read(path: Path) -> tuple[Origin, list[Entry]]:
    try:
        value: Mapping[str, Any] = json.loads(path.read_bytes())
        origin = Origin(
            endpoint=EndpointConfig(**value["endpoint"]),
            journal_dir=value["journal_dir"],
            batch=BatchConfig(**value["batch"]),
        )
        return origin, [Entry(**entry) for entry in value["batches"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path} is not as this program wrote it ({error}): it says which batches are under "
            "way; put it back, or choose another run.output_dir"
        ) from error
