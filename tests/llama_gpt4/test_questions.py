"""Files of questions: what is read, and the one line about what is not."""

import json
import os

import pytest

from llama_gpt4.errors import InputError
from llama_gpt4.questions import hashed_id, read_questions
from llama_gpt4.records import read_records


def write(tmp_path, values, name="questions.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(v, ensure_ascii=False) + "\n" for v in values), "utf-8")
    return str(path)


def test_alpacas_records_are_known_by_a_hash_of_what_is_asked(write_json):
    asked = [
        {"instruction": "Add.", "input": "2, 2", "output": "4"},
        {"instruction": "给出三个健康小贴士。", "input": "", "output": ""},
        {"instruction": "Say hello."},
        {"instruction": "Sing.", "input": "<noinput>"},
        {"instruction": "Dance.", "input": None},
    ]
    questions = read_questions(write_json(asked))
    assert [q.text for q in questions] == [
        "Add.\n2, 2",
        "给出三个健康小贴士。",
        "Say hello.",
        "Sing.",
        "Dance.",
    ]
    assert questions[0].message == {"role": "user", "content": "Add.", "input": "2, 2"}
    assert questions[2].message == {"role": "user", "content": "Say hello."}
    assert questions[0].question_id == hashed_id("Add.", "2, 2") == "828b52e64598e206"
    assert questions[3].question_id == hashed_id("Sing.", "")
    assert len({q.question_id for q in questions}) == 5


def test_the_border_of_instruction_and_input_is_part_of_the_hash():
    assert hashed_id("a\nb", "") != hashed_id("a", "b")


def test_vicunas_questions_keep_their_numbers(tmp_path):
    vicuna = {"question_id": 7, "text": "How do I sleep better?", "category": "generic"}
    (question,) = read_questions(write(tmp_path, [vicuna]))
    assert (question.question_id, question.text) == (7, "How do I sleep better?")


def test_user_oriented_instructions_keep_their_names(tmp_path):
    task = {
        "id": "user_oriented_task_3",
        "motivation_app": "Grammarly",
        "instruction": "Desk jobs: fix it.",
        "instances": [{"input": "He go.", "output": "He goes."}],
    }
    (question,) = read_questions(write(tmp_path, [task]))
    assert (question.question_id, question.text) == (
        "user_oriented_task_3",
        "Desk jobs: fix it.\nHe go.",
    )


def test_vicunas_later_files_hold_turns(tmp_path):
    vicuna = {"question_id": 7, "category": "generic", "turns": ["How do I sleep better?"]}
    (question,) = read_questions(write(tmp_path, [vicuna]))
    assert (question.question_id, question.text) == (7, "How do I sleep better?")


def test_each_instance_of_unnatural_instructions_is_a_question(tmp_path):
    core = {
        "instruction": "Name the animal.",
        "instances": [
            {
                "instruction_with_input": f"Name the animal.\n{sound}",
                "input": sound,
                "constraints": "None.",
                "output": "",
            }
            for sound in ("Moo.", "Miaow.")
        ],
    }
    questions = read_questions(write(tmp_path, [core]))
    assert [q.text for q in questions] == ["Name the animal.\nMoo.", "Name the animal.\nMiaow."]
    answered = {"instruction": "Name the animal.", "input": "Moo.", "output": "cow", "label": "Cow"}
    (same,) = read_questions(write(tmp_path, [answered], "gpt4.jsonl"))
    assert same == questions[0], "the published 9,000 records join with the core set by id"


@pytest.mark.parametrize(
    ("file", "n"),
    [("vicuna_question_80.jsonl", 80), ("user_oriented_instructions.jsonl", 252)],
)
def test_the_published_question_files(file, n):
    folder = os.environ.get("LLAMA_GPT4_REAL_DATA")
    if not folder:
        pytest.skip("LLAMA_GPT4_REAL_DATA names no folder of the published data")
    assert len(read_questions(f"{folder}/{file}")) == n


def test_the_shipped_records_are_questions():
    for sample in ("sample:en", "sample:zh"):
        questions = read_questions(sample)
        asked = [(record.instruction, record.input) for record in read_records(sample)]
        assert [(q.instruction, q.input) for q in questions] == asked


def test_a_byte_order_mark_and_blank_lines_are_no_questions(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_bytes('\ufeff{"text": "a"}\n\n{"text": "b\u2028c"}\n'.encode())
    assert [q.text for q in read_questions(str(path))] == ["a", "b\u2028c"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [{"text": "a"}, {"question": "b"}],
            "record 2 has no key `instruction`, `text` or `turns` (its keys: question)",
        ),
        ([{"turns": ["a", "b"]}], "record 1: `turns` is not a list of one text"),
        ([{"turns": "a"}], "record 1: `turns` is not a list of one text"),
        ([{"turns": [5]}], "record 1: `turns` is a JSON number, not a string"),
        (
            [{"instruction": "a", "instances": [{"input": "b"}, 5]}],
            "record 1: one of its `instances` is a JSON number",
        ),
        (
            [{"id": "t1", "instruction": "a", "instances": [{"input": "b"}, {"input": "c"}]}],
            "record 1: the id 't1' names 2 `instances`",
        ),
        ([5], "record 1 is a JSON number, not an object"),
        ([{"text": 5}], "record 1: `text` is a JSON number, not a string"),
        ([{"text": " "}], "record 1: `text` is empty"),
        ([{"instruction": None}], "record 1: `instruction` is a JSON null, not a string"),
        ([{"instruction": "a", "input": []}], "record 1: `input` is a JSON array, not a string"),
        (
            [{"text": "a", "question_id": None}],
            "`question_id` is neither a number nor a text: null",
        ),
        (
            [{"text": "a", "question_id": True}],
            "`question_id` is neither a number nor a text: true",
        ),
        ([{"text": "a", "id": ""}], '`id` is neither a number nor a text: ""'),
        (
            [{"instruction": "a", "instances": []}],
            "`instances` is not a list of objects",
        ),
        (
            [{"instruction": "a", "instances": [{"input": 1}]}],
            "record 1: its instance: `input` is a JSON number, not a string",
        ),
        (
            [{"text": "a", "question_id": 7}, {"text": "b", "question_id": "7"}],
            "record 2 has the question_id '7' of ",
        ),
    ],
)
def test_what_is_no_question_is_named_in_one_line(tmp_path, values, message):
    path = write(tmp_path, values)
    with pytest.raises(InputError) as caught:
        read_questions(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)


def test_a_question_without_an_id_that_comes_again_is_asked_once(tmp_path, caplog):
    path = write(tmp_path, [{"text": "a"}, {"text": "b"}, {"instruction": "a"}])
    assert [question.instruction for question in read_questions(path)] == ["a", "b"]
    [said] = caplog.messages
    assert said == f"{path} record 3 asks the same as {path} record 1: what comes again counts once"


def test_many_that_come_again_are_one_line(tmp_path, caplog):
    path = write(tmp_path, [{"text": "a"}] * 1_500)
    assert len(read_questions(path)) == 1
    [said] = caplog.messages
    assert "and 1,498 more such" in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no question"),
        (b"[]", "holds no question"),
        (b"[1,", "is not JSON"),
        (b'{"text": "a"}\n{"text"', "line 2"),
        (b'{"text": "a"}\n\xff', "line 2 is not UTF-8"),
        (b'{"text": "\\ud800"}', "half of a surrogate pair"),
    ],
)
def test_a_damaged_file_is_named_in_one_line(tmp_path, content, message):
    path = tmp_path / "q.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_questions(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_questions(str(tmp_path / "q.json"))
    with pytest.raises(InputError, match="is a folder"):
        read_questions(str(tmp_path))
    with pytest.raises(InputError, match="not a shipped sample"):
        read_questions("sample:fr")
