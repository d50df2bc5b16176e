"""The tokenizer of any model of `transformers`, with the few methods that prepared data need.

As with ours, prompt and answer are encoded apart, and a text that spells a special token stays
text. Some models have one token for BOS and EOS, as OPT has, which ours refuses.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_gpt4.errors import InputError


class HubTokenizer:
    def __init__(self, backend: Any, folder: Path) -> None:
        if backend.eos_token_id is None:
            raise InputError(
                f"{folder}: the tokenizer has no EOS token, which ends every response: name it as "
                "eos_token in tokenizer_config.json"
            )
        if not backend.is_fast:
            raise InputError(
                f"{folder} has no tokenizer that works offsets out (a fast one): put a "
                "tokenizer.json in it"
            )
        self._backend = backend
        self.bos_id: int | None = backend.bos_token_id
        self.eos_id: int = backend.eos_token_id
        self.pad_id: int | None = backend.pad_token_id
        self.vocab_size = len(backend)

    @classmethod
    def load(cls, folder: Path) -> "HubTokenizer":
        from transformers import AutoTokenizer

        try:
            # From here on "</s>" in a response is four characters.
            backend = AutoTokenizer.from_pretrained(folder, split_special_tokens=True)
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).strip().split("\n")[0]
            raise InputError(f"{folder} has no tokenizer that can be loaded: {reason}") from error
        return cls(backend, folder)

    def encode_prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """For each text BOS, where there is one, and its ids."""
        start = [] if self.bos_id is None else [self.bos_id]
        return [[*start, *ids] for ids in self._encode(texts)]

    def encode_answers(self, texts: Sequence[str]) -> list[list[int]]:
        """For each text its ids and EOS."""
        return [[*ids, self.eos_id] for ids in self._encode(texts)]

    def fingerprint(self) -> str:
        """A hash of everything that decides ids."""
        facts = [self._backend.backend_tokenizer.to_str(), self.bos_id, self.eos_id]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def save(self, folder: Path, *, max_tokens: int) -> None:
        self._backend.model_max_length = max_tokens
        self._backend.save_pretrained(folder)

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        return self._backend(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=True,
            return_attention_mask=False,
        )["input_ids"]
