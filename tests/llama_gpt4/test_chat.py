"""The program `chat`, as a user starts it: one question, or a conversation through a pipe."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from llama_gpt4.chat import Chat, ChatConfig, converse, main, take_texts
from llama_gpt4.compose import compose
from llama_gpt4.errors import ExitCode, InputError
from llama_gpt4.generation import Generator
from tests.command import ENVIRONMENT
from tests.llama_gpt4.test_generation import KNOWN, MAX_POSITIONS, trained_folder

QUESTION, _, ANSWER = KNOWN[0]
CHINESE_QUESTION, _, CHINESE_ANSWER = KNOWN[2]
SHORT = ["decoding.max_new_tokens=32", "device=cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return trained_folder(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def generator(folder) -> Generator:
    return Generator.load(folder, "cpu")


def run_chat(folder, *arguments, stdin=""):
    command = [sys.executable, "-m", "llama_gpt4.chat", f"model={folder}", *SHORT, *arguments]
    return subprocess.run(
        command, input=stdin.encode(), capture_output=True, timeout=120, env=ENVIRONMENT
    )


@pytest.mark.e2e
def test_one_question_is_answered_and_that_is_all(folder):
    for question, input, answer in KNOWN[1:]:
        more = [f"input={input}"] if input else []
        done = run_chat(folder, f"prompt={question}", *more)
        assert done.returncode == ExitCode.DONE, done.stderr.decode()
        assert done.stdout.decode() == answer + "\n"
        assert done.stderr == b""


@pytest.mark.e2e
def test_a_conversation_through_a_pipe(folder):
    typed = (
        f"{QUESTION}\n\n/new\n{CHINESE_QUESTION}\n/new\n{QUESTION}\nAnd then?\n/quit\nnever read\n"
    )
    done = run_chat(folder, stdin=typed)
    assert done.returncode == ExitCode.DONE, done.stderr.decode()
    said = done.stdout.decode()
    assert said.startswith(f"{ANSWER}\n{CHINESE_ANSWER}\n{ANSWER}\n")
    assert len(said) > len(f"{ANSWER}\n{CHINESE_ANSWER}\n{ANSWER}\n")
    assert done.stderr == b""


def chat_of(generator, folder):
    return Chat(generator, compose(ChatConfig, "chat", [f"model.path={folder}", *SHORT]))


def test_what_was_said_is_part_of_the_next_question(generator, folder, capsys):
    chat = chat_of(generator, folder)
    chat.say(QUESTION)
    assert [message["content"] for message in chat.messages] == [QUESTION, ANSWER]
    chat.say("Add.", "1")
    assert chat.messages[2] == {"role": "user", "content": "Add.", "input": "1"}
    chat.start_over()
    assert chat.messages == []
    assert chat.say(QUESTION).text == ANSWER
    assert capsys.readouterr().out.endswith(f"\n{ANSWER}\n")


def test_a_conversation_that_outgrows_the_model_is_one_line(generator, folder):
    chat = chat_of(generator, folder)
    chat.say(QUESTION)
    before = list(chat.messages)
    with pytest.raises(InputError, match=f"the conversation has .* {MAX_POSITIONS}"):
        chat.say("word " * 300)
    assert chat.messages == before


@pytest.mark.e2e
def test_an_overlong_question_ends_no_conversation(folder):
    done = run_chat(folder, stdin="word " * 400 + f"\n{QUESTION}\n")
    assert done.returncode == ExitCode.DONE
    assert done.stdout.decode() == ANSWER + "\n"
    assert done.stderr.decode().count("\n") == 1
    assert "or start over with /new" in done.stderr.decode()
    alone = run_chat(folder, "prompt=" + "word " * 400)
    assert alone.returncode == ExitCode.BAD_INPUT
    assert alone.stderr.decode().startswith("llama-gpt4 chat: the question has ")
    assert alone.stderr.decode().count("\n") == 1


def test_bytes_that_are_no_text_are_refused(generator, folder, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9\n"), "utf-8"))
    with pytest.raises(InputError, match="the standard input is not UTF-8"):
        converse(chat_of(generator, folder))


@pytest.mark.parametrize(
    "text",
    [
        "What is 2+2, really?",
        'What\'s "this"? {a: [1, 2]} ${oc.env:HOME} $(x) \\ \\n 100% = ~a+b @c',
        "三加四等于几？请用“中文”回答，谢谢！🙂",
        "a=b=c",
        "null",
        "-h",
        " two\nlines ",
    ],
)
def test_words_are_taken_to_the_letter(text):
    others, texts = take_texts([f"prompt={text}", "model=m", f"input={text}", "seed=1"])
    assert texts == {"prompt": text, "input": text}
    assert others == ["model=m", "seed=1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "model.path has no value"),
        (["model=m", "prompt= "], "prompt is empty"),
        (["model=m", "input=x"], "input is for a question"),
        (["model=m", "seed=-1"], "seed=-1 is negative"),
        (["model=m", "device=tpu"], "device=tpu is not one of"),
        (["model=m", "samples=2"], "samples is not a key of this program"),
        (["model=/没有, m", "prompt=${x}"], "model.path=/没有, m does not exist"),
    ],
)
def test_bad_input_is_one_line(capsys, arguments, message):
    assert main(arguments) == ExitCode.BAD_INPUT
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1 and said.startswith("llama-gpt4 chat: ")
