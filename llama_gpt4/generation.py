"""Answers of a model in Hugging Face format: many at once, or one while it is being made.

What is guaranteed. At temperature 0 an answer depends on the model and its prompt alone. A drawn
one depends on the seed, the key of its question and the number of the sample besides: each row
draws with random numbers of its own, one a token, whoever shares its batch. So both repeat for the
same file and seed, also after an interruption. Where "alone" ends is arithmetic: between batches of
different shape a logit may differ in its last bits, which decides only between tokens that are
equally likely within them; float32 hardly ever meets such a pair, bfloat16 now and then.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
)
from transformers.generation.streamers import BaseStreamer
from transformers.utils import logging as transformers_logging

from llama_gpt4.errors import InputError
from llama_gpt4.prompt import CHAT_TEMPLATE, render_chat
from llama_gpt4.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llama_gpt4.answer import DecodingConfig

Message = Mapping[str, str]
"""A turn of a chat: `role`, `content` and maybe `input`."""


@dataclass(frozen=True)
class Row:
    """One answer to be made."""

    key: str
    """What its random numbers depend on, with the seed and the sample."""
    sample: int
    prompt: list[int]


@dataclass(frozen=True)
class Answer:
    text: str
    finish_reason: str
    """`stop`: the model ended it; `length`: it was cut."""


class Generator:
    """A model, its tokenizer and its chat template on one device."""

    def __init__(self, model: Any, ids: Tokenizer, chat: Any) -> None:
        """`ids` and `chat` are our tokenizer and that of `transformers`, of one folder."""
        self._model, self._ids, self._chat = model, ids, chat
        own = model.generation_config.eos_token_id
        self._end_ids = {ids.eos_id, *(own if isinstance(own, list) else [own])} - {None}
        self.pad_id = 0
        """Stands where the mask hides it; LLaMA has no token for that, and any id will do."""
        self.max_positions: int | None = getattr(model.config, "max_position_embeddings", None)
        # Penalties and temperatures that a model brings along would change what `decoding` says.
        model.generation_config = GenerationConfig()

    @classmethod
    def load(cls, folder: Path, device: str) -> "Generator":
        """From a folder in Hugging Face format; float32 on a CPU, its own precision on CUDA."""
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if device == "cuda" and not torch.cuda.is_available():
            raise InputError("device=cuda: PyTorch sees no CUDA device here; use device=cpu")
        if not (folder / "config.json").is_file():
            inner = folder / "model"
            instead = f"name {inner}" if inner.is_dir() else "name the folder of a model"
            raise InputError(f"model.path={folder} has no config.json: {instead}")
        ids = Tokenizer.load(folder)
        chat = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        if chat.chat_template is None:
            raise InputError(
                f"model.path={folder} has no chat template, so nobody knows how to ask it: name a "
                "model that was tuned to answer, or add the chat_template.jinja it was tuned with"
            )
        return cls(_load_weights(folder, device), ids, chat)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids of a chat whose last turn is the user's, ready to be answered.

        Our own template is tokenised turn by turn, as in training: "</s>" in a question is text,
        and no token lies across the border of a question and its answer.
        """
        if self._chat.chat_template == CHAT_TEMPLATE:
            return self._alpaca_prompt(messages)
        return list(self._apply_template(self._with_input_inside(messages), tokenize=True))

    def require_room(self, prompt: Sequence[int], what: str) -> None:
        """An `InputError` if the prompt leaves no position for an answer."""
        if self._room(prompt) < 1:
            raise InputError(
                f"{what} has {len(prompt)} tokens with its prompt, and the model takes "
                f"{self.max_positions} with the answer: shorten it"
            )

    def answers(
        self, rows: Sequence[Row], decoding: "DecodingConfig", seed: int, batch_size: int
    ) -> Iterator[list[tuple[Row, Answer]]]:
        """The answers to `rows`, a batch at a time, the longest prompts first.

        Rows of about one length share a batch, so that little is padded. Too little room for
        `max_new_tokens` shortens the answers to that prompt, not those of its neighbours.
        """

        def limit(row: Row) -> int:
            return min(decoding.max_new_tokens, self._room(row.prompt))

        ordered = sorted(rows, key=lambda row: -len(row.prompt))
        for n_tokens, alike in groupby(ordered, key=limit):
            rest = list(alike)
            while rest:
                batch, rest = rest[:batch_size], rest[batch_size:]
                try:
                    new_ids = self._generate(batch, decoding, seed, n_tokens, None)
                except torch.OutOfMemoryError:
                    raise InputError(
                        f"batch_size={batch_size} does not fit into the memory of the device: "
                        "lower it"
                    ) from None
                yield [(row, self._answer(ids)) for row, ids in zip(batch, new_ids, strict=True)]

    def stream(
        self, row: Row, decoding: "DecodingConfig", seed: int, show: Callable[[str], None]
    ) -> Answer:
        """The answer to one row, given to `show` piece by piece while it is made."""
        n_shown = 0

        def show_more(ids: Sequence[int], is_whole: bool) -> None:
            nonlocal n_shown
            text = self._answer(ids).text
            if not is_whole:
                text = text.rstrip("\ufffd")  # a character of which only some bytes are there yet
            show(text[n_shown:])
            n_shown = max(n_shown, len(text))

        n_tokens = min(decoding.max_new_tokens, self._room(row.prompt))
        (ids,) = self._generate([row], decoding, seed, n_tokens, _Streamer(show_more))
        show_more(ids, True)
        return self._answer(ids)

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
                    eos_token_id=sorted(self._end_ids),
                    pad_token_id=self.pad_id,
                ),
                logits_processor=LogitsProcessorList(choose),
                streamer=streamer,
            )
        return out[:, longest:].tolist()

    def _answer(self, ids: Sequence[int]) -> Answer:
        end = next((i for i, token in enumerate(ids) if token in self._end_ids), None)
        text = self._ids.decode(ids[:end], continuation=True)
        return Answer(text, "length" if end is None else "stop")

    def _room(self, prompt: Sequence[int]) -> int:
        """Positions left for an answer."""
        return (self.max_positions or 10**9) - len(prompt)

    def _alpaca_prompt(self, messages: Sequence[Message]) -> list[int]:
        ids = [self._ids.bos_id]
        rendered = ""
        for turn, message in enumerate(messages, 1):
            before, rendered = rendered, render_chat(messages[:turn], bos_token="", eos_token="")
            if message["role"] == "assistant":
                ids += self._ids.encode_answers([message["content"]])[0]
            else:
                ids += self._ids.encode_prompts([rendered[len(before) :]])[0][1:]
        return ids

    def _with_input_inside(self, messages: Sequence[Message]) -> list[Message]:
        """`messages`, each `input` below its instruction if the template knows no `input`."""
        plain = [{"role": m["role"], "content": m["content"]} for m in messages]
        if self._apply_template(messages) != self._apply_template(plain):
            return list(messages)
        inputs = [message.get("input") for message in messages]
        return [
            {**message, "content": f"{message['content']}\n{input}"} if input else message
            for message, input in zip(plain, inputs, strict=True)
        ]

    def _apply_template(self, messages: Sequence[Message], tokenize: bool = False) -> Any:
        return self._chat.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=tokenize, return_dict=False
        )


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


class DrawPerRow(LogitsProcessor):
    """Draws each row's next token with that row's own random number, and leaves it alone possible.

    The token is the first whose cumulative probability, in the order of ids, passes the number.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        decoding: "DecodingConfig",
        seed: int,
        n_tokens: int,
        prompt_tokens: int,
    ) -> None:
        self._decoding, self._prompt_tokens = decoding, prompt_tokens
        self._draws = torch.stack([draws(seed, row, n_tokens) for row in rows])  # (B, n_tokens)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """`scores` (B, V) -> (B, V): 0 for the token that is drawn, -inf for the others."""
        draw = self._draws[:, input_ids.shape[1] - self._prompt_tokens].to(scores.device)
        probabilities = torch.softmax(scores.double() / self._decoding.temperature, dim=-1)
        if self._decoding.top_p < 1:
            probabilities = keep_likeliest(probabilities, self._decoding.top_p)
        cumulative = probabilities.cumsum(-1)
        # A draw is below 1, so below the total, unless rounding made them equal: hence the clamp.
        target = draw[:, None] * cumulative[:, -1:]
        token = torch.searchsorted(cumulative, target, right=True)
        token = torch.minimum(token, _last_possible(probabilities))
        return torch.full_like(scores, -torch.inf).scatter(1, token, 0.0)


def draws(seed: int, row: Row, n_tokens: int) -> Tensor:
    """(n_tokens,) float64 within [0, 1): the random numbers of one answer, one a token.

    A longer limit goes on with the same numbers.
    """
    digest = hashlib.sha256(f"{seed}/{row.sample}/{row.key}".encode()).digest()
    source = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
    return torch.rand(n_tokens, generator=source, dtype=torch.float64)


def keep_likeliest(probabilities: Tensor, top_p: float) -> Tensor:
    """(B, V) without what is less likely than the last token needed to reach `top_p`."""
    falling = probabilities.sort(dim=-1, descending=True).values
    n_kept = (falling.cumsum(-1) - falling < top_p).sum(-1, keepdim=True)
    least = falling.gather(1, n_kept - 1)
    return probabilities.where(probabilities >= least, 0.0)


def _last_possible(probabilities: Tensor) -> Tensor:
    """(B, 1) the highest id of positive probability."""
    last = (probabilities > 0).flip(-1).int().argmax(-1, keepdim=True)
    return probabilities.shape[-1] - 1 - last


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
