"""Answers of a model in Hugging Face format: many at once, or one while it is being made.

What is guaranteed. At temperature 0 an answer depends on the model and its prompt alone. A drawn
one depends on the seed, the key of its question and the number of the sample besides: each row
draws with random numbers of its own, one a token, whoever is made beside it. So both repeat for the
same file and seed, also after an interruption. Where "alone" ends is arithmetic: between batches of
different shape a logit may differ in its last bits, which decides only between tokens that are
equally likely within them; float32 hardly ever meets such a pair, bfloat16 now and then.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoModelForCausalLM, GenerationConfig, LogitsProcessorList
from transformers.generation.streamers import BaseStreamer
from transformers.utils import logging as transformers_logging

from llama_gpt4 import continuous
from llama_gpt4.chat_tokens import Answer, ChatTokens, Row
from llama_gpt4.drawing import DrawPerRow
from llama_gpt4.errors import InputError

if TYPE_CHECKING:
    from llama_gpt4.decoding import DecodingConfig


class Generator:
    """A model on one device, and its tokens."""

    def __init__(self, model: Any, tokens: ChatTokens) -> None:
        self._model, self.tokens = model, tokens
        self.pad_id = 0
        """Stands where the mask hides it; LLaMA has no token for that, and any id will do."""
        # Penalties and temperatures that a model brings along would change what `decoding` says.
        model.generation_config = GenerationConfig()

    @classmethod
    def load(cls, folder: Path, device: str) -> "Generator":
        """From a folder in Hugging Face format; float32 on a CPU, its own precision on CUDA."""
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise InputError("device=cuda: PyTorch sees no CUDA device here; use device=cpu")
        tokens = ChatTokens.load(folder)
        return cls(_load_weights(folder, device), tokens)

    def answers(
        self, rows: Sequence[Row], decoding: "DecodingConfig", seed: int, batch_size: int
    ) -> Iterator[list[tuple[Row, Answer]]]:
        """The answers to `rows` as they get ready, `batch_size` under way at once; an empty list
        where a second brings none."""
        if not rows:
            return
        limited = self.tokens.limited(rows, decoding.max_new_tokens)
        if continuous.can_run(self._model):
            end_ids = self.tokens.end_ids
            batches = continuous.answered(self._model, end_ids, limited, decoding, seed, batch_size)
        else:
            batches = self._padded(limited, decoding, seed, batch_size)
        for batch in batches:
            yield [(row, self.tokens.answer(ids)) for row, ids in batch]

    def stream(
        self, row: Row, decoding: "DecodingConfig", seed: int, show: Callable[[str], None]
    ) -> Answer:
        """The answer to one row, given to `show` piece by piece while it is made."""
        n_shown = 0

        def show_more(ids: Sequence[int], is_whole: bool) -> None:
            nonlocal n_shown
            text = self.tokens.answer(ids).text
            if not is_whole:
                text = text.rstrip("\ufffd")  # a character of which only some bytes are there yet
            show(text[n_shown:])
            n_shown = max(n_shown, len(text))

        n_tokens = min(decoding.max_new_tokens, self.tokens.room(row.prompt))
        (ids,) = self._generate([row], decoding, seed, n_tokens, _Streamer(show_more))
        show_more(ids, True)
        return self.tokens.answer(ids)

    def _padded(
        self,
        rows: Sequence[tuple[Row, int]],
        decoding: "DecodingConfig",
        seed: int,
        batch_size: int,
    ) -> Iterator[list[tuple[Row, list[int]]]]:
        """The new ids of `rows` with their limits, a batch of about one length at a time."""
        ordered = sorted(rows, key=lambda limited: -len(limited[0].prompt))
        for n_tokens, alike in groupby(ordered, key=lambda limited: limited[1]):
            rest = [row for row, _ in alike]
            while rest:
                batch, rest = rest[:batch_size], rest[batch_size:]
                try:
                    new_ids = self._generate(batch, decoding, seed, n_tokens, None)
                except torch.OutOfMemoryError:
                    raise continuous.too_large(batch_size) from None
                yield list(zip(batch, new_ids, strict=True))

    def _generate(
        self,
        rows: Sequence[Row],
        decoding: "DecodingConfig",
        seed: int,
        n_tokens: int,
        streamer: "_Streamer | None",
    ) -> list[list[int]]:
        """New ids of each row, at most `n_tokens`; whatever follows an end token is still there."""
        longest = max(len(row.prompt) for row in rows)
        padded = [[self.pad_id] * (longest - len(row.prompt)) + row.prompt for row in rows]
        ids = torch.tensor(padded)  # (B, T)
        lengths = torch.tensor([len(row.prompt) for row in rows])
        mask = torch.arange(longest) >= (longest - lengths)[:, None]  # (B, T)
        choose = []
        if decoding.temperature > 0:
            choose.append(DrawPerRow(rows, decoding, seed, n_tokens, longest))
        device = self._model.device
        with torch.inference_mode():
            out = self._model.generate(
                input_ids=ids.to(device),
                attention_mask=mask.long().to(device),
                generation_config=GenerationConfig(
                    do_sample=False,
                    max_new_tokens=n_tokens,
                    eos_token_id=sorted(self.tokens.end_ids),
                    pad_token_id=self.pad_id,
                ),
                logits_processor=LogitsProcessorList(choose),
                streamer=streamer,
            )
        return out[:, longest:].tolist()


def _load_weights(folder: Path, device: str) -> Any:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32 if device == "cpu" else "auto",
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"model.path={folder} cannot be loaded: {reason}") from error
    if report["missing_keys"]:
        raise InputError(f"model.path={folder} lacks the weight {min(report['missing_keys'])}")
    return model.to(device).eval()


class _Streamer(BaseStreamer):
    """What `generate` reports of one row: its prompt first, then id by id."""

    def __init__(self, show: Callable[[Sequence[int], bool], None]) -> None:
        self._show = show
        self._ids: list[int] | None = None

    def put(self, value: Tensor) -> None:
        if self._ids is None:
            self._ids = []  # `value` is the prompt
            return
        self._ids += value.flatten().tolist()
        self._show(self._ids, False)

    def end(self) -> None:
        """The caller shows the end, as it knows the whole answer."""
