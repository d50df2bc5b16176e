"""Tokens of texts and requests, counted here and not by the endpoint."""

from functools import cache, cached_property
from typing import Any

from llama_gpt4.errors import InputError
from llama_gpt4_data.requests import Request

TOKENS_PER_MESSAGE, TOKENS_PER_REQUEST = 3, 3
"""What the chat format adds: to a message, and before the answer (OpenAI's cookbook, "How to count
tokens with tiktoken"); the role is one token more."""
ENCODINGS = ("cl100k_base", "o200k_base")
PIECE = 50_000
"""Letters that are counted at once: `bpe_openai` refuses texts of more than 200,000 tokens, and a
letter has four of them at most."""


@cache
def _encoding(name: str) -> Any:
    import bpe_openai

    return bpe_openai.get_encoding(name)


class TokenCounter:
    """Counts as models of one `encoding` do; others have some percent more or less."""

    def __init__(self, encoding: str) -> None:
        if encoding not in ENCODINGS:
            raise InputError(f"encoding={encoding} is not one of {', '.join(ENCODINGS)}")
        self.encoding = encoding

    @cached_property
    def _bpe(self) -> Any:
        return _encoding(self.encoding)

    def load(self) -> None:
        """Read the table now. It takes half a second, in which an event loop would stand still and
        let the time limits of answers pass that are there already."""
        _encoding(self.encoding)

    def text(self, text: str) -> int:
        pieces = (text[start : start + PIECE] for start in range(0, len(text), PIECE))
        return sum(len(self._bpe.encode_ordinary(piece)) for piece in pieces)

    def prompt(self, request: Request) -> int:
        """Tokens that the endpoint reads for `request`."""
        texts = sum(self.text(message["content"]) for message in request.body["messages"])
        return texts + (TOKENS_PER_MESSAGE + 1) * len(request.body["messages"]) + TOKENS_PER_REQUEST
