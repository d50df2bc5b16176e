"""What several files hold keeps its own name, and none takes another's place."""

from pathlib import Path

from llama_gpt4.evaluation.labels import labelled, short_names


def test_files_are_named_from_where_they_differ() -> None:
    assert short_names(["runs/a/scores.json", "./runs/b/scores.json"]) == {
        "runs/a/scores.json": "a/scores.json",
        "./runs/b/scores.json": "b/scores.json",
    }
    assert short_names(["/x/y/judge.json"]) == {"/x/y/judge.json": "judge.json"}
    assert set(short_names([f"{Path.cwd()}/a.json", "b.json"]).values()) == {"a.json", "b.json"}
    assert short_names([]) == {}


def test_an_equal_name_says_its_file() -> None:
    files = {"a/s.json": {"gpt4": 1, "ours": 2}, "b/s.json": {"gpt4": 3}, "c/s.json": {"x": 4}}
    assert labelled(files, taken=["x"]) == {
        "gpt4 (a/s.json)": 1, "ours": 2, "gpt4 (b/s.json)": 3, "x (c/s.json)": 4
    }  # fmt: skip
