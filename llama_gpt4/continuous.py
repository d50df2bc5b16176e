"""Answers by the continuous batching of `transformers`: where one ends, the next begins at once, so
that none waits for the longest of its batch, and nothing is padded."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from transformers import ContinuousBatchingConfig, GenerationConfig, LogitsProcessorList
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessor,
    ContinuousBatchingLogitsProcessorList,
)

from llama_gpt4.chat_tokens import Row
from llama_gpt4.drawing import draws, only_drawn
from llama_gpt4.errors import InputError

if TYPE_CHECKING:
    from llama_gpt4.decoding import DecodingConfig

PAGE_TOKENS = 32
"""Tokens of one page of the cache. Prompts with the same first pages share them: samples of one
question all of it, Alpaca's prompts their beginning."""
STEP_TOKENS = 512
"""Tokens of one forward pass at most; longer prompts are read in several."""
KNOWN_LAYERS = {"full_attention", "sliding_attention"}
"""Kinds of layers that the paged cache of `transformers` has a form for."""

# What ends its loop comes back here as an exception; its own log would say it again, with a trace.
logging.getLogger("ContinuousBatchingLogger").setLevel(logging.CRITICAL)


def can_run(model: Any) -> bool:
    """Whether the model's attention can read a paged cache; BLOOM's and Mamba's cannot."""
    layers = set(getattr(model.config, "layer_types", None) or KNOWN_LAYERS)
    return bool(model._supports_attention_backend) and layers <= KNOWN_LAYERS


class DrawPerRequest(ContinuousBatchingLogitsProcessor):
    """Draws the next token of each row by its own random numbers, whichever rows share a step."""

    supported_kwargs: ClassVar[dict[str, type]] = {}
    ignored_kwargs = ()

    def __init__(
        self,
        rows: Mapping[str, Row],
        limits: Mapping[str, int],
        decoding: "DecodingConfig",
        seed: int,
    ) -> None:
        self._decoding = decoding
        self._prompt_tokens = {id: len(row.prompt) for id, row in rows.items()}
        self._draws = {id: draws(seed, row, limits[id]) for id, row in rows.items()}

    def fill_defaults(self, int32_tensor: Tensor) -> None:
        int32_tensor.zero_()

    def prepare_tensor_args(self, requests_with_new_token: Sequence[Any]) -> Tensor:
        """(B,) the number for each request's next token: float32 in the bits of int32, which is all
        that the library carries to the device."""
        numbers = [self._next(request.state) for request in requests_with_new_token]
        return torch.stack(numbers).view(torch.int32) if numbers else torch.empty(0).int()

    def __call__(self, scores: Tensor, tensor_arg: Tensor) -> Tensor:
        draw = tensor_arg[: scores.shape[0]].view(torch.float32)
        return only_drawn(scores, draw, self._decoding)

    def _next(self, state: Any) -> Tensor:
        id = state.request_id
        # A request that had to leave the cache comes again with its answer so far as its prompt.
        n_known = len(state.initial_tokens) + state.generated_len()
        return self._draws[id][n_known - self._prompt_tokens[id]]


def answered(
    model: Any,
    end_ids: set[int],
    rows: Sequence[tuple[Row, int]],
    decoding: "DecodingConfig",
    seed: int,
    batch_size: int,
) -> Iterator[list[tuple[Row, list[int]]]]:
    """`rows`, which come with the most new ids that they may get, and those new ids, with the end
    token, as they get ready; an empty list where a second brings none."""
    by_id = {str(place): row for place, (row, _) in enumerate(rows)}
    limits = {str(place): limit for place, (_, limit) in enumerate(rows)}
    longest = max(len(row.prompt) + limit for row, limit in rows)
    manager = model.init_continuous_batching(
        generation_config=GenerationConfig(do_sample=False, eos_token_id=sorted(end_ids)),
        continuous_batching_config=_settings(longest, batch_size),
    )
    if decoding.temperature > 0:
        processor = DrawPerRequest(by_id, limits, decoding, seed)
        manager.logit_processor = ContinuousBatchingLogitsProcessorList(
            LogitsProcessorList([processor])
        )
        manager.logit_processor.tensors_required = 1
    waiting = list(by_id)[::-1]

    def submit(n: int) -> None:
        for id in [waiting.pop() for _ in range(min(n, len(waiting)))]:
            prompt, limit = by_id[id].prompt, limits[id]
            manager.add_request(prompt, id, max_new_tokens=limit, eos_token_id=sorted(end_ids))

    manager.start()
    try:
        # Not all at once: each step of the library looks at every request that waits.
        submit(2 * batch_size)
        while by_id:
            result = manager.get_result(timeout=1)
            if result is None and manager.is_running():
                yield []
            elif result is None or result.error:
                raise _failure(manager, result, batch_size)
            else:
                submit(1)
                yield [(by_id.pop(result.request_id), result.generated_tokens)]
    finally:
        manager.stop(hard_stop=True)
        manager.destroy()


def _settings(longest_tokens: int, batch_size: int) -> ContinuousBatchingConfig:
    """A cache with room for `batch_size` rows of the greatest length, and no more."""
    pages = -(-longest_tokens // PAGE_TOKENS) + 1
    return ContinuousBatchingConfig(
        page_size=PAGE_TOKENS,
        num_blocks=batch_size * pages,
        max_batch_tokens=max(STEP_TOKENS, batch_size),
        max_requests_per_batch=batch_size,
        safety_margin=0.0,  # whatever is let in has room until its end
        # A step that is prepared before the last has ended would draw by the wrong number.
        use_async_batching=False,
        use_cuda_graph=False,
        # Which kernels happen to be installed must not decide an answer's last bits, nor fetch any.
        auto_switch_to_flash=False,
    )


def _failure(manager: Any, result: Any, batch_size: int) -> Exception:
    """Why the library's loop ended before its time."""
    manager.stop(hard_stop=True)  # it fails the rows first, and says afterwards for what
    error = manager.background_thread_status.fatal_error
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return too_large(batch_size)
    return error or RuntimeError(f"continuous batching ended: {result and result.error}")


def too_large(batch_size: int) -> InputError:
    """The error of answers that the device has no memory for."""
    return InputError(
        f"batch_size={batch_size} does not fit into the memory of the device: lower it"
    )
