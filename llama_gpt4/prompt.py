"""Alpaca's prompt, as text for training and as the chat template of the exported tokenizer."""

from collections.abc import Iterable, Mapping

from llama_gpt4.errors import InputError

WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request."
)
WITHOUT_INPUT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes "
    "the request."
)
INSTRUCTION, INPUT, RESPONSE = "\n\n### Instruction:\n", "\n\n### Input:\n", "\n\n### Response:"


def render_prompt(instruction: str, input: str) -> str:
    """All that stands before the answer; nothing follows `Response:`, the answer comes next."""
    return (WITH_INPUT if input else WITHOUT_INPUT) + _turn(instruction, input)


def render_prompts(exchanges: Iterable[tuple[str, str, str]]) -> list[str]:
    """What stands before each answer of a conversation, whose turns are instruction, input, answer:
    the preamble comes once."""
    return [
        _turn(instruction, input) if turn else render_prompt(instruction, input)
        for turn, (instruction, input, _) in enumerate(exchanges)
    ]


def _turn(instruction: str, input: str) -> str:
    return INSTRUCTION + instruction + (INPUT + input if input else "") + RESPONSE


def _quoted(text: str) -> str:
    """`text` as a string of the Jinja language."""
    return "'" + text.replace("\n", "\\n") + "'"


# A user's message may carry `input` beside `content`. The template writes `bos_token` itself,
# because `apply_chat_template` tokenises without adding special tokens. `Response:` belongs to
# the user's turn, so a prompt is whole with and without `add_generation_prompt`.
CHAT_TEMPLATE = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{%- if message['role'] != ('user' if loop.index0 % 2 == 0 else 'assistant') %}"
    "{{- raise_exception('the turns of a chat are user, assistant, user and so on; turn '"
    " ~ loop.index ~ ' is by ' ~ message['role']) }}"
    "{%- elif message['role'] == 'assistant' %}"
    "{{- message['content'] + eos_token }}"
    "{%- else %}"
    "{%- if loop.first %}"
    f"{{{{- {_quoted(WITH_INPUT)} if message['input'] else {_quoted(WITHOUT_INPUT)} }}}}"
    "{%- endif %}"
    f"{{{{- {_quoted(INSTRUCTION)} + message['content'] }}}}"
    "{%- if message['input'] %}"
    f"{{{{- {_quoted(INPUT)} + message['input'] }}}}"
    "{%- endif %}"
    f"{{{{- {_quoted(RESPONSE)} }}}}"
    "{%- endif %}"
    "{%- endfor %}"
)


def render_chat(
    messages: Iterable[Mapping[str, str]], *, bos_token: str = "<s>", eos_token: str = "</s>"
) -> str:
    """What `CHAT_TEMPLATE` makes of `messages`: turns of `role`, `content` and maybe `input`."""
    text = bos_token
    for turn, message in enumerate(messages):
        role = message["role"]
        if role != ("user", "assistant")[turn % 2]:
            raise InputError(
                "the turns of a chat are user, assistant, user and so on; "
                f"turn {turn + 1} is by {role}"
            )
        input = message.get("input") or ""
        if role == "assistant":
            text += message["content"] + eos_token
        elif turn == 0:
            text += render_prompt(message["content"], input)
        else:
            text += _turn(message["content"], input)
    return text
