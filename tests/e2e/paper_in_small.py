"""The paper from end to end, offline and in small: `python -m tests.e2e.paper_in_small runs/paper`.

Two teachers answer the shipped tasks, each teaches a tiny model, both models answer, and a judge
compares them. It also rates their answers, which teaches a reward model; that ranks five answers of
the strong teacher's model to each question, and the judge compares the groups. All is on one page
in the end. Every step is a line that a user could type.
"""

import json
import subprocess
import sys
from pathlib import Path

LLAMA = [sys.executable, "-m", "llama_gpt4_launch.cli"]
QUESTIONS = "sample:en"


class Steps:
    """Runs lines of `llama-gpt4` one after the other, with all files in one folder."""

    def __init__(self, folder: Path, base_url: str, train_steps: int) -> None:
        self.folder, self.train_steps = folder, train_steps
        self._local = [f"base_url={base_url}", "licence=none", "in_flight=4", "attempts=3"]
        self._cache = [f"data.cache_dir={folder}/cache", "tracking=none"]

    def endpoint(self, role: str, model: str) -> list[str]:
        keys = [f"{role}.{key}" for key in (*self._local, f"model={model}")]
        return [f"endpoint@{role}=local", *keys]

    def line(self, *words: str) -> None:
        shown = " ".join(f"'{word}'" if set(word) & set("[]{} ") else word for word in words)
        print(f"\n$ llama-gpt4 {shown}", flush=True)
        subprocess.run([*LLAMA, *words], check=True)

    def run(self) -> None:
        for teacher in ("strong", "weak"):
            self.learn(teacher)
        answers = ", ".join(f"{name}: {self.folder}/{name}.jsonl" for name in ("strong", "weak"))
        self.judge("judged", f"{{{answers}}}", "weak")
        self.rank(f"{{{answers}}}")
        names = ("judged/judge", "judged_groups/judge", "ranked/report", "reward/reward_report")
        results = ",".join(f"{self.folder}/{name}.json" for name in names)
        self.line("report", f"results=[{results}]", f"output={self.folder}/report.html")

    def learn(self, teacher: str) -> None:
        """A teacher's data, a model that has learnt them, and its answers."""
        data, run_dir = self.folder / f"data_{teacher}", self.folder / f"model_{teacher}"
        self.line(
            "data", "answer", *self.endpoint("teacher", teacher),
            "files=[sample:en,sample:zh]", f"run.output_dir={data}",
        )  # fmt: skip
        self.line(
            "train", f"data.files=[{data}/data.json]", f"run_dir={run_dir}",
            f"train.steps={self.train_steps}", *self._cache,
        )  # fmt: skip
        self.answer(run_dir, f"{teacher}.jsonl")

    def answer(self, run_dir: Path, name: str, *more: str) -> None:
        self.line(
            "answer", f"model={run_dir}/model", f"questions={QUESTIONS}",
            f"output={self.folder}/{name}", "decoding.max_new_tokens=64", "batch_size=64", *more,
        )  # fmt: skip

    def judge(self, name: str, answers: str, opponent: str, *more: str) -> None:
        self.line(
            "evaluate", "metric=judge", *self.endpoint("judge", "judge"), f"questions={QUESTIONS}",
            f"answers={answers}", f"opponent={opponent}",
            f"run.output_dir={self.folder}/{name}", *more,
        )  # fmt: skip

    def rank(self, answers: str) -> None:
        """A reward model of the judge's ratings, and what its choice of five answers is worth."""
        self.answer(
            self.folder / "model_strong", "several.jsonl", "samples=5", "decoding=paper",
            "decoding.max_new_tokens=64",
        )  # fmt: skip
        self.line(
            "data", "rate", *self.endpoint("judge", "judge"), f"answers={answers}",
            f"run.output_dir={self.folder}/rated",
        )  # fmt: skip
        self.line(
            "reward", f"data.files=[{self.folder}/rated/data.json]", "data.validation.share=0.2",
            f"run_dir={self.folder}/reward", "train.eval_every_steps=0", *self._cache,
        )  # fmt: skip
        self.line(
            "rank", f"model={self.folder}/reward/model", f"answers={self.folder}/several.jsonl",
            f"output_dir={self.folder}/ranked",
        )  # fmt: skip
        groups = ", ".join(f"{name}: {self.folder}/ranked/{name}.jsonl" for name in ("R1", "R5"))
        weak = f"weak: {self.folder}/weak.jsonl"
        self.judge("judged_groups", f"{{{groups}, {weak}}}", "weak", "ranking=[R1,R5]")


def summary(folder: Path) -> dict[str, dict[str, float]]:
    """How much better the strong teacher's model is, in points of the judge."""
    [pair] = json.loads((folder / "judged" / "judge.json").read_text())["pairs"]
    assert pair["models"] == ["strong", "weak"]
    return {key: pair[key] for key in ("relative_score", "win_rate")}


def main(folder: Path, train_steps: int) -> dict[str, dict[str, float]]:
    server = [sys.executable, "-m", "tests.e2e.small_world"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        server, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        try:
            base_url = f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
            Steps(folder, base_url, train_steps).run()
        finally:
            process.stdin.close()
    return summary(folder)


if __name__ == "__main__":
    found = main(Path(sys.argv[1]), 150)
    score, wins = found["relative_score"], found["win_rate"]
    print(
        f"\nthe strong teacher's model has {score['value']:.0%} ({score['low']:.0%} to "
        f"{score['high']:.0%}) of the points of the weak one's, and wins {wins['value']:.0%} "
        f"({wins['low']:.0%} to {wins['high']:.0%})"
    )
