"""What a model is given and gives back as token ids: the prompt of a chat, an answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoTokenizer, GenerationConfig

from llama_gpt4.errors import InputError
from llama_gpt4.prompt import CHAT_TEMPLATE, render_chat
from llama_gpt4.tokenizer import Tokenizer

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
    """What a model said, and why it ended there."""

    text: str
    finish_reason: str
    """`stop`: the model ended it; `length`: it was cut."""


class ChatTokens:
    """The tokenizer, chat template and limits of a model; its weights are not needed."""

    def __init__(self, ids: Tokenizer, chat: Any, end_ids: set[int], max_positions: int | None):
        """`ids` and `chat` are our tokenizer and that of `transformers`, of one folder."""
        self._ids, self._chat = ids, chat
        self.end_ids, self.max_positions = end_ids, max_positions

    @classmethod
    def load(cls, folder: Path) -> "ChatTokens":
        """From a folder in Hugging Face format."""
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
        config, end = _described(folder)
        end_ids = {ids.eos_id, *(end if isinstance(end, list) else [end])} - {None}
        return cls(ids, chat, end_ids, getattr(config, "max_position_embeddings", None))

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The ids of a chat whose last turn is the user's, ready to be answered.

        Our own template is tokenised turn by turn, as in training: "</s>" in a question is text,
        and no token lies across the border of a question and its answer.
        """
        if self._chat.chat_template == CHAT_TEMPLATE:
            return self._alpaca_prompt(messages)
        return list(self._apply_template(self._with_input_inside(messages), tokenize=True))

    def room(self, prompt: Sequence[int]) -> int:
        """Positions left for an answer."""
        return (self.max_positions or 10**9) - len(prompt)

    def limited(self, rows: Sequence[Row], max_new_tokens: int) -> list[tuple[Row, int]]:
        """`rows` with the most ids that each may get: little room shortens that answer only."""
        return [(row, min(max_new_tokens, self.room(row.prompt))) for row in rows]

    def require_room(self, prompt: Sequence[int], what: str) -> None:
        """An `InputError` if the prompt leaves no position for an answer."""
        if self.room(prompt) < 1:
            raise InputError(
                f"{what} has {len(prompt)} tokens with its prompt, and the model takes "
                f"{self.max_positions} with the answer: shorten it"
            )

    def answer(self, ids: Sequence[int]) -> Answer:
        """What the new `ids` say, up to the model's end token where there is one."""
        end = next((i for i, token in enumerate(ids) if token in self.end_ids), None)
        text = self._ids.decode(ids[:end], continuation=True)
        return Answer(text, "length" if end is None else "stop")

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


def _described(folder: Path) -> tuple[Any, Any]:
    """The model's configuration, and the ids that end its answers as far as its files say."""
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        if (folder / "generation_config.json").is_file():
            return config, GenerationConfig.from_pretrained(folder).eos_token_id
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"model.path={folder} cannot be loaded: {reason}") from error
    return config, config.eos_token_id
