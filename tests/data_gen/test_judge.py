"""A judge with known weaknesses compares answers of known worth: what was put in is found."""

import json
from pathlib import Path
from statistics import mean, median

import numpy as np
import pytest
from llama_gpt4_data import cli
from llama_gpt4_data.ranked import answer_lines, ranked

from .batch_server import running_batch_server
from .judging import Judging, read_lines, write_lines
from .ranking import candidates
from .teacher_judge import answer_worth
from .teacher_tasks import _digest as digest

WORTH = [3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0]
"""Of answers that no weakness below brings to an end of the scale."""


def worths(model: str, n: int, more: float = 0.0) -> list[float]:
    return [WORTH[digest(f"{model} {i}")[0] % len(WORTH)] + more for i in range(n)]


def texts(model: str, values: list[float], length: int = 40) -> list[str]:
    return [answer_worth(value, digest(model)[0] + i, length) for i, value in enumerate(values)]


def test_a_fair_judge_gives_the_points_that_answers_are_worth(judging: Judging) -> None:
    n = 12
    a, b, c = worths("a", n, more=2.0), worths("b", n), worths("c", n)
    answers = judging.answers(a=texts("a", a), b=texts("b", b), c=texts("c", c))
    questions = judging.questions(*(f"Question {i}?" for i in range(n)), category="math")
    judged = judging(questions, answers)
    assert judged.code == 0
    assert judging.teacher.stats().requests == 3 * 2 * n, "all pairs, in both orders"
    assert len(judged.lines) == 3 * 2 * n
    [a_b, a_c, b_c] = judged.result["pairs"]
    assert a_b["models"] == ["a", "b"] and a_b["points"] == [sum(a), sum(b)]
    assert a_b["relative_score"]["value"] == pytest.approx(sum(a) / sum(b))
    assert (a_c["conflicts"], a_c["missing"]) == (0, [])
    wins = sum(x > y for x, y in zip(b, c, strict=True))
    losses = sum(x < y for x, y in zip(b, c, strict=True))
    assert b_c["win_tie_lose"] == [wins, n - wins - losses, losses]
    assert judged.result["matrix"]["c"]["b"] == [losses, n - wins - losses, wins]
    assert [order["points"] for order in b_c["by_order"]] == [[sum(b), sum(c)]] * 2
    assert b_c["by_category"].keys() == {"math"}
    assert "a : b" in judged.out and "wins/ties/losses" in judged.out

    line = judged.lines[1]
    assert line["models"] == ["a", "b"] and line["order"] == ["b", "a"] and line["repeat"] == 0
    assert line["scores"] == [b[0], a[0]] and line["text"].startswith("First,")
    assert (line["judge"], line["prompt"]) == ("gpt-4", "math") and len(line["prompt_hash"]) == 64


def test_a_judge_that_prefers_the_first_place_is_found_out(judging: Judging) -> None:
    n, gain = 30, 1.0
    judging.teacher.behaves(judge_first_place=gain)
    a, b = worths("x", n), worths("y", n)
    judged = judging(
        judging.questions(*(f"Question {i}?" for i in range(n))),
        judging.answers(a=texts("x", a), b=texts("y", b)),
        "opponent=b",
    )
    [pair] = judged.result["pairs"]
    assert pair["first_place_gain"]["value"] == pytest.approx(gain)
    assert pair["points"] == [sum(a) + n * gain / 2, sum(b) + n * gain / 2], "the same for both"
    conflicts = sum(abs(x - y) <= gain for x, y in zip(a, b, strict=True))
    assert 0 < conflicts < n and pair["conflicts"] == conflicts
    first, second = pair["by_order"]
    assert first["order"] == ["a", "b"] and first["points"] == [sum(a) + n * gain, sum(b)]
    assert second["points"] == [sum(a), sum(b) + n * gain]
    low, high = pair["conflict_rate"]["low"], pair["conflict_rate"]["high"]
    assert low < conflicts / n < high and f"{conflicts} of {n}" in judged.out


def test_a_judge_that_prefers_length_is_corrected(judging: Judging) -> None:
    """Both models are equally good; one talks at length, more on some questions than on others."""
    n = 120
    judging.teacher.behaves(judge_length=0.5)
    a, b = worths("long", n), worths("short", n)
    lengths = [80 + 10 * (digest(f"length {i}")[0] % 60) for i in range(n)]
    judged = judging(
        judging.questions(*(f"Question {i}?" for i in range(n))),
        judging.answers(
            a=[answer_worth(a[i], i, lengths[i]) for i in range(n)],
            b=[answer_worth(b[i], n + i, 200) for i in range(n)],
        ),
    )
    [pair] = judged.result["pairs"]
    fair = mean((x > y) + (x == y) / 2 for x, y in zip(a, b, strict=True))
    controlled = pair["length_controlled_win_rate"]
    assert pair["length_coefficient"] > 0
    assert pair["win_rate"]["low"] > fair, "the bias is there"
    assert controlled["low"] < fair < controlled["high"] < pair["win_rate"]["high"]
    assert abs(controlled["value"] - fair) < abs(pair["win_rate"]["value"] - fair) / 2


def test_repeats_are_asked_anew_and_their_median_counts(judging: Judging) -> None:
    judging.teacher.behaves(judge_noise=1.0)
    arguments = (
        judging.questions("One?"),
        judging.answers(a=texts("a", [6.0]), b=texts("b", [5.0])),
    )
    assert judging(*arguments).code == 0
    assert judging.teacher.stats().requests == 2
    judged = judging(*arguments, "repeats=3")
    stats = judging.teacher.stats()
    assert stats.requests == 6 and stats.most_attempts == 3, "the first of each was paid already"
    assert judging(*arguments, "repeats=3").result == judged.result
    assert judging.teacher.stats().requests == 6

    by_order: dict[str, list[float]] = {}
    for line in judged.lines:
        place = line["order"].index("a")
        by_order.setdefault(line["order"][0], []).append(line["scores"][place])
    assert len(by_order["a"]) == 3 and len({*by_order["a"]}) > 1, "this judge is not repeatable"
    [pair] = judged.result["pairs"]
    assert pair["points"][0] == mean(median(scores) for scores in by_order.values())


def test_what_has_no_score_is_missing_for_both_and_named(judging: Judging) -> None:
    a, b = [6.0, 4.0, 5.0, 7.0, 3.5], [5.0, 6.5, 3.0, 4.0, 3.0]
    judged = judging(
        judging.questions(
            "One?", "Two? [[fault:empty]]", "Three? [[fault:empty*1]]", "Four? [[fault:400]]",
            "Five? [[fault:500*2]]",
        ),
        judging.answers(a=texts("a", a), b=texts("b", b)),
        "opponent=b",
    )  # fmt: skip
    assert judged.code == 0
    [pair] = judged.result["pairs"]
    assert (pair["questions"], pair["missing"]) == (3, ["2", "4"])
    assert pair["points"] == [a[0] + a[2] + a[4], b[0] + b[2] + b[4]]
    counts = judged.result["judgements"]
    assert (counts["total"], counts["scored"], counts["missing"]) == (10, 6, 4)
    assert counts["failures"] == {"unreadable": 2, "400: Invalid value for 'temperature'.": 2}
    assert "left out of a : b: 2 questions" in judged.out
    unreadable = [line for line in judged.lines if line["failure"] == "unreadable"]
    assert [line["scores"] for line in unreadable] == [None, None]
    stats = judging.teacher.stats()
    assert stats.most_attempts == 3 and max(stats.answers.values()) == 2, "asked once more, no more"


def test_the_budget_stops_it_and_the_same_line_goes_on(judging: Judging) -> None:
    arguments = (
        judging.questions(*(f"Question {i}?" for i in range(8))),
        judging.answers(a=texts("a", worths("a", 8)), b=texts("b", worths("b", 8))),
        "judge.in_flight=1",
    )
    judged = judging(*arguments, "run.budget_usd=0.2")
    assert judged.code == 2 and "run.budget_usd=0.2 does not last" in judged.complaint
    assert not (judged.folder / "judge.json").exists(), "half a result is none"
    before = judging.teacher.stats()
    assert 0 < before.requests < 16
    assert judging(*arguments).code == 0
    after = judging.teacher.stats()
    assert after.requests == 16 and not after.paid_twice


def test_batches_judge_as_well(judging: Judging) -> None:
    a, b = worths("a", 3), worths("b", 3)
    with running_batch_server() as server:
        judged = judging(
            judging.questions("One?", "Two?", "Three?"),
            judging.answers(a=texts("a", a), b=texts("b", b)),
            f"judge.base_url={server.base_url}",
            "run.mode=batch",
            "run.batch.poll_seconds=0.01",
            "run.batch.longest_poll_seconds=0.05",
        )
        [batch] = server.service.batches.values()
        assert batch["request_counts"]["total"] == 6
    [pair] = judged.result["pairs"]
    assert pair["points"] == [sum(a), sum(b)]


def test_equal_answers_are_judged_once_and_end_in_a_tie(judging: Judging) -> None:
    judging.teacher.behaves(judge_first_place=1.0)
    same = texts("a", [5.0, 4.0])
    judged = judging(judging.questions("One?", "Two?"), judging.answers(a=same, b=same))
    assert judging.teacher.stats().requests == 2
    [pair] = judged.result["pairs"]
    assert pair["win_tie_lose"] == [0, 2, 0] and pair["relative_score"]["value"] == 1


def test_judgements_are_read_again_without_a_judge(judging: Judging) -> None:
    judging.teacher.behaves(judge_first_place=0.5, judge_length=0.1)
    a, b = worths("a", 6), worths("b", 6)
    judged = judging(
        judging.questions(*(f"Question {i}?" for i in range(6)), category="coding"),
        judging.answers(a=texts("a", a, 90), b=texts("b", b, 60)),
        "opponent=a",
    )
    asked = judging.teacher.stats().requests
    saved = judging.folder / "saved.jsonl"
    (judged.folder / "judgements.jsonl").rename(saved)
    again = judging(f"reviews=[{saved}]", "opponent=a", "answers={}")
    assert again.code == 0 and judging.teacher.stats().requests == asked
    for key in ("pairs", "matrix", "models"):
        assert again.result[key] == judged.result[key]
    [pair] = again.result["pairs"]
    assert pair["models"] == ["b", "a"], "the opponent comes second"


def test_groups_of_rank_are_compared_with_their_order(judging: Judging) -> None:
    n = 10
    worth = {f"R{k}": worths("r", n, more=(3 - k) / 2) for k in (1, 2, 3)}
    judged = judging(
        judging.questions(*(f"Question {i}?" for i in range(n))),
        judging.answers(**{m: texts(m, w) for m, w in worth.items()}, gpt=texts("g", [5.0] * n)),
        "opponent=gpt",
        "ranking=[R1,R2,R3]",
    )
    assert judged.result["ranking"] == {
        "order": ["R1", "R2", "R3"],
        "spearman": {"value": 1, "low": 1, "high": 1},
    }
    assert "rank correlation with the order R1, R2, R3: 1.00" in judged.out
    assert judged.result["models"]["scores"].keys() == {"R1", "R2", "R3"}


def test_the_files_of_rank_are_judged_as_they_are(judging: Judging) -> None:
    found = ranked(candidates(["a0", "a1"], ["b0", "b1"]), None, np.array([[1.0, 2], [4, 3]]))
    files = {
        group.name: write_lines(judging.folder / f"{group.name}.jsonl", answer_lines(found, group))
        for group in found.groups
    }
    questions = [{"question_id": q.question_id, "text": q.text} for q in found.questions]
    asked = write_lines(judging.folder / "asked.jsonl", questions)
    named = ", ".join(f"{name}: {file}" for name, file in files.items())
    judged = judging(f"questions={asked}", f"answers={{{named}}}")
    assert judged.code == 0, judged.err
    [pair] = judged.result["pairs"]
    assert pair["models"] == ["R1", "R2"] and pair["questions"] == 2


def test_its_cost_is_estimated_before(judging: Judging) -> None:
    arguments = [
        judging.questions("One?", "Two?", "Three?"),
        judging.answers(a=["x", "y", ""], b=["u", "v", "w"]),
        f"run.output_dir={judging.folder / 'judged'}",
        f"run.journal_dir={judging.folder / 'journal'}",
        "repeats=2",
    ]
    judging._capture.readouterr()
    assert cli.main(["estimate", "judge", *arguments]) == 0
    out = judging._capture.readouterr().out
    assert "judge by gpt-4" in out and "12 to send" in out and "$" in out
    assert cli.main(["estimate", "judge", *arguments, "repeats=20"]) == 0
    assert "limit=1 first" in judging._capture.readouterr().out, "which is 40 requests"
    assert judging.teacher.stats().requests == 0
    assert cli.main(["estimate", "judge", *arguments, "reviews=[a.jsonl]"]) == 2


def test_chinese_opponents_as_in_figure_5(judging: Judging, tmp_path: Path) -> None:
    """Questions and answers translated, or answered in Chinese: each file goes to the next task as
    it is."""
    questions = judging.questions("Name two rivers.", "Count to 3.", category="math")
    file = questions.removeprefix("questions=")

    def data(task: str, role: str, files: str, name: str, *more: str) -> str:
        code = cli.main(
            [
                task,
                f"files=[{files}]",
                f"run.output_dir={tmp_path / name}",
                f"run.journal_dir={tmp_path / 'journal'}",
                f"{role}.base_url={judging.teacher.base_url}",
                *more,
            ]
        )
        assert code == 0
        return str(tmp_path / name / "data.jsonl")

    chinese = data("translate", "translator", file, "questions_zh")
    assert [line["category"] for line in read_lines(Path(chinese))] == ["math", "math"]
    ours = write_lines(
        tmp_path / "answers.jsonl",
        (
            {"question_id": n, "question": q, "answer": a, "sample": 0, "model": "runs/x"}
            for n, q, a in ((1, "Name two rivers.", "Rhine, Po."), (2, "Count to 3.", ""))
        ),
    )
    english = data("answer", "teacher", file, "gpt4", "frame=plain")
    generated = data("answer", "teacher", chinese, "gpt4_zh", "frame=plain", "language=zh")
    translated = [
        data("translate", "translator", answers, name, "what=answers")
        for answers, name in ((ours, "ours_zh"), (english, "gpt4_translated"))
    ]
    assert [line["answer"] for line in read_lines(Path(translated[0]))][1] == ""
    judged = judging(
        f"questions={chinese}",
        f"answers={{ours: {translated[0]}, translated: {translated[1]}, generated: {generated}}}",
        "opponent=generated",
    )
    assert judged.code == 0
    assert [pair["models"] for pair in judged.result["pairs"]] == [
        ["ours", "generated"],
        ["translated", "generated"],
    ]
    assert judged.result["settings"]["answers"]["ours"]["empty"] == 1
    assert judged.lines[0]["prompt"] == "math", "the category came along"
    assert judged.result["pairs"][0]["questions"] == 2


def test_bad_keys_are_one_line_before_anything_is_written(judging: Judging) -> None:
    judged = judging("questions=q.jsonl", "answers={a: a.jsonl}")
    assert judged.code == 2 and "answers names fewer than two models" in judged.complaint
    judged = judging("questions=q.jsonl", "answers={a: a.jsonl, b: b.jsonl}", "repeat=2")
    assert judged.code == 2 and "repeats" in judged.complaint
    judged = judging("questions=q.jsonl", "answers={a: a.jsonl, b: b.jsonl}")
    assert judged.code == 2 and "questions=q.jsonl does not exist" in judged.complaint
    assert not judged.folder.exists()


def test_reviews_of_other_pairs_than_the_opponent_s_are_refused(judging: Judging) -> None:
    judged = judging(
        judging.questions("One?"), judging.answers(a=["x"], b=["y"], c=["z"]), "repeats=2"
    )
    saved = judging.folder / "saved.jsonl"
    (judged.folder / "judgements.jsonl").rename(saved)
    again = judging(f"reviews=[{saved}]", "opponent=a")
    assert again.code == 2 and "reviews judge b : c, without opponent=a" in again.complaint


def test_nothing_is_written_over_what_is_read(judging: Judging) -> None:
    judged = judging(
        judging.questions("One?"), judging.answers(a=["x"], b=["y"]), "judge.attempts=1"
    )
    assert judged.code == 0
    again = judging(f"reviews=[{judged.folder / 'judgements.jsonl'}]")
    assert again.code == 2 and "which the run would overwrite" in again.complaint


def test_no_score_at_all_is_no_result(judging: Judging) -> None:
    judged = judging(judging.questions("One? [[fault:empty]]"), judging.answers(a=["x"], b=["y"]))
    assert judged.code == 2 and "no question has a score in every order" in judged.complaint
    assert not (judged.folder / "judge.json").exists() and len(judged.lines) == 2
    assert json.loads((judged.folder / "report.json").read_text())["failures"] == {"unreadable": 2}
