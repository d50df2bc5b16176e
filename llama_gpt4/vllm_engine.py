"""Answers by vLLM, where it is installed.

Each answer has a seed of its own, so that it repeats as with `transformers`; but vLLM draws with
other random numbers, and files of answers say which engine made them.
"""

import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llama_gpt4.errors import require

if TYPE_CHECKING:
    from llama_gpt4.chat_tokens import Answer, Row
    from llama_gpt4.decoding import DecodingConfig


def require_installed() -> None:
    """`InputError` with what to install where vLLM is not there."""
    require(
        importlib.util.find_spec("vllm") is not None,
        "engine=vllm needs a package that is not installed: pip install vllm",
    )


class VllmGenerator:
    """A model in Hugging Face format under vLLM, which chooses device and precision."""

    def __init__(self, folder: Path) -> None:
        from llama_gpt4.chat_tokens import ChatTokens

        self._folder, self._tokens = folder, ChatTokens.load(folder)

    def answers(
        self, rows: "Sequence[Row]", decoding: "DecodingConfig", seed: int, batch_size: int
    ) -> "Iterator[list[tuple[Row, Answer]]]":
        """The answers to `rows` as they get ready, `batch_size` under way at once; an empty list
        where a step brings none."""
        # Its log is a page a model, on the output that says where the answers are.
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        from vllm import EngineArgs, LLMEngine, SamplingParams

        from llama_gpt4.drawing import seed_of

        limited = self._tokens.limited(rows, decoding.max_new_tokens)
        arguments = EngineArgs(
            model=str(self._folder),
            skip_tokenizer_init=True,
            generation_config="vllm",  # not what the model brings along
            max_model_len=max(len(row.prompt) + limit for row, limit in limited),
            max_num_seqs=batch_size,
        )
        engine = LLMEngine.from_engine_args(arguments)
        try:
            for place, (row, limit) in enumerate(limited):
                params = SamplingParams(
                    max_tokens=limit,
                    temperature=decoding.temperature,
                    top_p=decoding.top_p,
                    seed=seed_of(seed, row),
                    stop_token_ids=sorted(self._tokens.end_ids),
                    detokenize=False,
                )
                engine.add_request(str(place), {"prompt_token_ids": row.prompt}, params)
            while engine.has_unfinished_requests():
                yield [
                    (rows[int(output.request_id)], self._tokens.answer(output.outputs[0].token_ids))
                    for output in engine.step()
                    if output.finished
                ]
        finally:
            engine.engine_core.shutdown()  # the next model needs the memory
