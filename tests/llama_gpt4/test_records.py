"""Records: every form of file that people bring, and one clear line for every fault in it."""

import bz2
import json
import re

import pytest

from llama_gpt4.errors import InputError
from llama_gpt4.fields import NO_INPUT
from llama_gpt4.records import Record, json_values, read_bytes, read_records

GOOD = {"instruction": "Add.", "input": "2, 2", "output": "4"}


@pytest.fixture
def write(tmp_path):
    def write(content, name="data.json"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_shipped_sample_reads(language):
    records = read_records(f"sample:{language}")
    assert len(records) >= 100
    assert all(record.output for record in records)
    assert any(record.input for record in records)
    assert any(not record.input for record in records)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("blank", ["", "\n\r\t "])
def test_an_array_is_an_array_whatever_the_name(write, mark, blank):
    path = write(mark + (blank + json.dumps([GOOD, GOOD])).encode(), "data.jsonl")
    assert read_records(path) == [
        Record("Add.", "2, 2", "4", path, 0),
        Record("Add.", "2, 2", "4", path, 1),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_jsonl_counts_lines_and_skips_empty_ones(write, end, mark):
    line = json.dumps(GOOD)
    path = write(mark + end.join([line, "", "  ", line, ""]).encode())
    assert [record.index for record in read_records(path)] == [1, 4]


def test_answers_of_a_model_are_records(write):
    """What `answer` and `rank` write; the input stands at the end of the question as well."""
    line = {"question_id": 7, "question": "Add.\n2, 2", "input": "2, 2", "answer": "4", "sample": 0}
    plain = {"question_id": "b", "question": "Add.\n2, 2", "answer": "5", "finish_reason": "stop"}
    cut = plain | {"finish_reason": "length"}
    path = write("\n".join(json.dumps(each) for each in (line, plain, cut)))
    assert read_records(path) == [
        Record("Add.", "2, 2", "4", path, 1),
        Record("Add.\n2, 2", "", "5", path, 2),
        Record("Add.\n2, 2", "", "5", path, 3, is_cut=True),
    ]


def test_a_single_object_is_jsonl(write):
    assert len(read_records(write(json.dumps(GOOD)))) == 1


def test_line_separators_of_unicode_stay_within_a_string(write):
    text = "a\u2028b\u2029c\x85d"
    path = write(json.dumps(GOOD | {"output": text}, ensure_ascii=False))
    assert read_records(path)[0].output == text


@pytest.mark.parametrize("form", [*sorted(NO_INPUT), "<NoInput>", "N/A", "None", " \n\t", " none "])
def test_what_says_no_input_is_no_input(write, form):
    (read,) = read_records(write(json.dumps([GOOD | {"input": form}])))
    assert (read.input, read.placeholder) == ("", form.strip())


@pytest.mark.parametrize("form", ["None of these", "n/a 3", "0", " 2, 2\n", "无论如何"])
def test_other_inputs_are_kept_as_they_are(write, form):
    (read,) = read_records(write(json.dumps([GOOD | {"input": form}])))
    assert (read.input, read.placeholder) == (form, "")


@pytest.mark.parametrize("record", [GOOD | {"input": None}, {"instruction": "Hi.", "output": "Ho"}])
def test_the_input_may_be_null_or_absent(write, record):
    assert read_records(write(json.dumps([record])))[0].input == ""


def test_texts_are_not_touched(write):
    record = {"instruction": " Say\n{x} ", "input": "\ta", "output": "\n b </s> "}
    read = read_records(write(json.dumps([record])))[0]
    assert (read.instruction, read.input, read.output) == tuple(record.values())


def test_an_empty_output_is_read_and_left_to_the_caller(write):
    assert read_records(write(json.dumps([GOOD | {"output": ""}])))[0].output == ""


def test_other_keys_are_ignored(write):
    other = {"id": 7, "conversations": [], "system": "", "history": None}
    assert read_records(write(json.dumps([GOOD | other])))


def test_a_history_is_the_beginning_of_a_conversation(write):
    history = [["Hello.", "Good day."], ["Can you add?", "Yes."]]
    path = write(json.dumps([GOOD | {"history": history, "input": "n/a"}]))
    (read,) = read_records(path)
    asked = [tuple(exchange) for exchange in read.exchanges]
    assert asked == [("Hello.", "", "Good day."), ("Can you add?", "", "Yes."), ("Add.", "", "4")]
    assert read.placeholder == "n/a"


def failing(path):
    with pytest.raises(InputError) as caught:
        read_records(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_missing_file(tmp_path):
    assert failing(str(tmp_path / "no.json")).startswith(f"{tmp_path}/no.json does not exist")


def test_a_folder(tmp_path):
    assert failing(str(tmp_path)) == f"{tmp_path} is a folder: name a file of records in it"


def test_a_file_used_as_a_folder(write):
    path = write("[]")
    assert failing(f"{path}/x.json") == f"{path}/x.json cannot be read: Not a directory"


def test_an_unknown_sample():
    assert failing("sample:fr") == (
        "sample:fr is not a shipped sample: there are sample:en, sample:zh, "
        "sample:comparisons_en, sample:comparisons_zh"
    )


def test_not_utf8(write):
    path = write(b'[\n{"instruction": "' + "你好".encode("gb18030"))
    assert failing(path) == f"{path} line 2 is not UTF-8: save the file as UTF-8"


@pytest.mark.parametrize("content", ["", " \n\n", "[]", "\ufeff", "[ ]\n"])
def test_a_file_without_records(write, content):
    path = write(content)
    assert failing(path) == f"{path} holds no record"


def test_a_broken_array_names_line_and_column(write):
    path = write('[\n  {"instruction": "a",\n   "output" "b"}\n]')
    assert failing(path) == f"{path} is not JSON: Expecting ':' delimiter (line 3, column 13)"


def test_a_broken_line_names_line_and_column(write):
    path = write(json.dumps(GOOD) + '\n{"instruction": }\n')
    assert failing(path) == (
        f"{path} is neither a JSON array nor JSONL: Expecting value (line 2, column 17)"
    )


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(
    ("value", "advice"),
    [
        ({"version": 1, "data": [GOOD]}, "save the list under `data` as a file of its own"),
        ({"0": GOOD, "1": GOOD}, "write records as a list, [{…}, {…}]"),
    ],
)
def test_one_object_around_the_records(write, value, advice, indent):
    path = write(json.dumps(value, indent=indent))
    assert failing(path) == (
        f"{path} is one JSON object (its keys: {', '.join(value)}), not a list of records: {advice}"
    )


def test_a_single_answer_is_a_line_whatever_is_in_it(write):
    line = {"question_id": 1, "question": "a", "answer": "b", "decoding": {"temperature": 1.0}}
    path = write(json.dumps(line) + "\n")
    assert json_values(read_bytes(path), path) == [(1, line)]


def test_an_object_over_several_lines_is_not_jsonl(write):
    assert failing(write(json.dumps(GOOD, indent=1))).endswith(
        "is one JSON object (its keys: instruction, input, output), not a list of records: "
        "write records as a list, [{…}, {…}]"
    )


def test_objects_over_several_lines_are_not_jsonl(write):
    path = write("\n".join(json.dumps(GOOD, indent=1) for _ in range(2)))
    assert failing(path) == (
        f"{path} has JSON objects over several lines each: write one a line, or a list, "
        "[{…}, {…}]"
    )


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (json.dumps([GOOD]).encode("utf-16"), "is UTF-16: save the file as UTF-8"),
        (bz2.compress(json.dumps([GOOD]).encode()), "is compressed by bzip2: unpack it, or"),
        (
            b"ARROW1\0\0\xff\xff\xff\xff",
            "is an Arrow file, also called Feather: save it as Parquet",
        ),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS, not the file"),
        (b"<!DOCTYPE html>", "is HTML or XML: a page about the file, perhaps"),
    ],
)
def test_other_formats_are_called_by_name(write, content, advice):
    path = write(content)
    assert failing(path).startswith(f"{path} {advice}")


def test_an_object_that_breaks_off_says_where(write):
    assert "neither a JSON array nor JSONL" in failing(write('{\n "data": [\n'))


FAULTS = [
    (["text"], "is a JSON string, not an object"),
    ([None], "is a JSON null, not an object"),
    ([[GOOD]], "is a JSON array, not an object"),
    ([3.5], "is a JSON number, not an object"),
    ([{"output": "x", "id": 1}], "has no key `instruction` (its keys: output, id)"),
    ([{"instruction": "x"}], "has no key `output` (its keys: instruction)"),
    ([{}], "has no key `instruction` (its keys: none)"),
    ([GOOD | {"instruction": 1}], ": `instruction` is a JSON number, not a string"),
    ([GOOD | {"input": ["a"]}], ": `input` is a JSON array, not a string"),
    ([GOOD | {"input": False}], ": `input` is a JSON boolean, not a string"),
    ([GOOD | {"output": None}], ": `output` is a JSON null, not a string"),
    ([GOOD | {"output": {"text": "x"}}], ": `output` is a JSON object, not a string"),
    ([GOOD | {"instruction": ""}], ": `instruction` is empty"),
    (
        [GOOD | {"system": "You are a pirate."}],
        "has a system prompt, for which Alpaca's prompt has no place: leave it out, or put it into "
        "the first turn of the user",
    ),
    ([GOOD | {"history": "Hello."}], ": `history` is a JSON string, not a list of pairs"),
    ([GOOD | {"history": [["a"]]}], ": pair 1 of `history` is not [instruction, answer]"),
    (
        [GOOD | {"history": [["a", "b"], [" ", "c"]]}],
        ": pair 2 of `history` has an empty instruction",
    ),
    ([GOOD | {"instruction": " \n"}], ": `instruction` is empty"),
    (
        [GOOD | {"output": "ab\ud83d"}],
        ": `output` holds half of a surrogate pair at character 2, which is no text",
    ),
]


@pytest.mark.parametrize(("records", "fault"), FAULTS)
def test_a_faulty_record_is_named(write, records, fault):
    path = write(json.dumps([GOOD, *records]))
    assert failing(path) == f"{path} record 1{'' if fault.startswith(':') else ' '}{fault}"


@pytest.mark.parametrize(("records", "fault"), FAULTS)
def test_a_faulty_line_is_named(write, records, fault):
    path = write("\n".join(json.dumps(record) for record in [GOOD, GOOD, *records]))
    assert re.match(rf"{re.escape(path)} record 3\b", failing(path))
    assert failing(path).endswith(fault.strip())


def test_faulty_records_are_counted(write):
    path = write(json.dumps([GOOD, {"instruction": "x"}, GOOD, {}, {"messages": []}]))
    assert failing(path) == (
        f"{path} record 1 has no key `output` (its keys: instruction); "
        "3 of 5 records cannot be used as they are"
    )


def test_escaped_surrogate_pairs_are_one_character(write):
    assert read_records(write(json.dumps([GOOD | {"output": "😀"}])))[0].output == "😀"


def test_nesting_beyond_reason_is_no_record(write):
    for name, content in (("a.json", "[" * 100_000), ("b.jsonl", '{"a":' * 100_000)):
        with pytest.raises(InputError, match="nested too deeply"):
            read_records(write(content, name))
