"""Talk to a model, or ask it one question."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from llama_gpt4.answer import PATHS, TrainedModel, quote_values
from llama_gpt4.compose import compose
from llama_gpt4.decoding import DecodingConfig
from llama_gpt4.errors import InputError, require, require_one_of
from llama_gpt4.help import wants_help
from llama_gpt4.hub import local_snapshot
from llama_gpt4.program import ExitReport, run_program

if TYPE_CHECKING:
    from llama_gpt4.chat_tokens import Answer, Message
    from llama_gpt4.generation import Generator

TEXTS = ("prompt", "input")
"""Arguments that are the user's own words: Hydra never sees them, as it would give `${…}`, quotes
and commas a meaning."""


@dataclass(kw_only=True)
class ChatConfig:
    """Which model, and what it is asked."""

    model: TrainedModel
    prompt: str | None
    """One question, to the letter: its answer is printed, and that is all; null: a conversation,
    where `/new` starts another and `/quit` or the end of the input ends it."""
    input: str | None
    """What the question is about, as a record's `input`."""
    decoding: DecodingConfig
    seed: int
    """Of drawn answers: the same conversation comes out again."""
    device: str
    """`cpu` in float32, `cuda` in the model's own precision, or `auto`: CUDA where there is one."""

    def __post_init__(self) -> None:
        require(self.prompt is None or bool(self.prompt.strip()), "prompt is empty: ask something")
        require(
            self.input is None or self.prompt is not None,
            "input is for a question: give prompt=… as well",
        )
        require(self.seed >= 0, f"seed={self.seed} is negative")
        require_one_of("device", self.device, ("auto", "cpu", "cuda"))


def main(argv: Sequence[str] | None = None) -> int:
    arguments, texts = take_texts(sys.argv[1:] if argv is None else argv)
    arguments = quote_values(arguments, PATHS)
    quoted = quote_values([f"{key}={text}" for key, text in texts.items()], {k: k for k in TEXTS})
    if wants_help("chat", ChatConfig, [*arguments, *quoted]):
        return 0
    return run_program("chat", lambda report: run(arguments, texts, report))


def run(arguments: Sequence[str], texts: dict[str, str], report: ExitReport) -> None:
    config = compose(ChatConfig, "chat", arguments)
    config = replace(config, prompt=texts.get("prompt"), input=texts.get("input"))
    folder = local_snapshot(config.model.path)
    from llama_gpt4.generation import Generator

    chat = Chat(Generator.load(folder, config.device), config)
    if config.prompt is not None:
        chat.say(config.prompt, config.input)
    else:
        converse(chat)


def take_texts(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """`arguments` without the user's own words, and those words by key, to the letter."""
    others, texts = [], {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key in TEXTS:
            texts[key] = value
        else:
            others.append(argument)
    return others, texts


class Chat:
    """A conversation; every answer is printed while it is made."""

    def __init__(self, generator: "Generator", config: ChatConfig) -> None:
        self._generator, self._config = generator, config
        self.messages: list[Message] = []
        """The turns so far, the last one by the model."""
        self._n_answers = 0

    def start_over(self) -> None:
        self.messages = []

    def say(self, text: str, input: str | None = None) -> "Answer":
        """Ask, print the answer, and remember both; an `InputError` if it would not fit."""
        from llama_gpt4.chat_tokens import Row

        message = {"role": "user", "content": text}
        messages = [*self.messages, message | ({"input": input} if input else {})]
        prompt = self._generator.tokens.prompt(messages)
        what = "the conversation" if self.messages else "the question"
        self._generator.tokens.require_room(prompt, what)
        row = Row(key=f"chat {self._n_answers}", sample=0, prompt=prompt)
        answer = self._generator.stream(row, self._config.decoding, self._config.seed, _show)
        print(flush=True)
        self._n_answers += 1
        self.messages = [*messages, {"role": "assistant", "content": answer.text}]
        return answer


def converse(chat: Chat) -> None:
    """Answer line after line of the standard input."""
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        print("/new starts over, /quit or Ctrl-D ends.", file=sys.stderr)
    while True:
        try:
            line = input("> " if is_terminal else "").strip()
        except EOFError:
            return
        except UnicodeDecodeError:
            raise InputError("the standard input is not UTF-8") from None
        if line == "/quit":
            return
        if line == "/new":
            chat.start_over()
        elif line:
            try:
                chat.say(line)
            except InputError as error:
                print(f"{error}, or start over with /new", file=sys.stderr)


def _show(text: str) -> None:
    print(text, end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
