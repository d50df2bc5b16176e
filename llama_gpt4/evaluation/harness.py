"""`llama-gpt4 evaluate metric=lm_eval`: tasks of EleutherAI's lm-evaluation-harness, asked in the
prompt that the model was trained on.

All that the harness says is kept in `harness.json` and `samples_<task>.jsonl`; `lm_eval.json`
has its numbers in the shape of our other results.
"""

import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from llama_gpt4.answer import PATHS, TrainedModel, quote_values
from llama_gpt4.compose import compose
from llama_gpt4.errors import InputError, require, require_one_of
from llama_gpt4.files import write_json, write_jsonl, written_aside
from llama_gpt4.help import wants_help
from llama_gpt4.hub import local_snapshot
from llama_gpt4.program import ExitReport, run_program

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

PROGRAM = "evaluate/lm_eval"


@dataclass(kw_only=True)
class HarnessConfig:
    """Which model does which tasks."""

    model: TrainedModel
    tasks: list[str]
    """Tasks, groups and tags of the harness by name, such as [mmlu, arc_challenge], whose data it
    fetches from the hub; and YAML files of tasks of your own."""
    shots: int | None
    """Worked examples before each question, as earlier turns of the chat; null: as each task
    says."""
    limit: int | None
    """Only the first so many questions of each task, for a trial; null: all."""
    batch_size: int
    device: str
    """`cpu` in float32, `cuda` in the model's own precision, or `auto`: CUDA where there is one."""
    output_dir: str
    """Where lm_eval.json, harness.json and samples_<task>.jsonl go."""

    def __post_init__(self) -> None:
        require(bool(self.tasks), "tasks is empty: name at least one")
        require(self.shots is None or self.shots >= 0, f"shots={self.shots} is negative")
        require(self.limit is None or self.limit > 0, f"limit={self.limit} must be positive")
        require(self.batch_size > 0, f"batch_size={self.batch_size} must be positive")
        require_one_of("device", self.device, ("auto", "cpu", "cuda"))


def main(argv: Sequence[str] | None = None) -> int:
    paths = PATHS | {"output_dir": "output_dir"}
    arguments = quote_values(sys.argv[1:] if argv is None else argv, paths)
    if wants_help(PROGRAM, HarnessConfig, arguments):
        return 0
    return run_program("evaluate", lambda report: run(arguments, report))


def run(arguments: Sequence[str], report: ExitReport) -> None:
    """Let the model do the tasks, write what came out, and print it as a table."""
    config = compose(HarnessConfig, PROGRAM, arguments)
    require(
        importlib.util.find_spec("lm_eval") is not None,
        "metric=lm_eval needs a package that is not installed: pip install 'llama-gpt4[lm-eval]'",
    )
    folder = local_snapshot(config.model.path)
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from llama_gpt4.evaluation.harness_model import language_model

    manager = TaskManager()
    tasks = loaded_tasks(manager, config.tasks)
    found = simple_evaluate(
        model=language_model(folder, config.device, config.batch_size),
        tasks=tasks,
        task_manager=manager,
        num_fewshot=config.shots,
        batch_size=config.batch_size,
        limit=config.limit,
        apply_chat_template=True,
    )
    output_dir = Path(config.output_dir)
    _keep(found, output_dir)
    rows = scores(found)
    write_json(output_dir / "lm_eval.json", _result(config, found, rows))
    print("\n".join(table(rows)))
    print(f"{output_dir}/lm_eval.json, harness.json, samples_<task>.jsonl", flush=True)


def loaded_tasks(manager: "TaskManager", names: Sequence[str]) -> list[Any]:
    """The tasks and groups that `names` mean, with their data."""
    for name in names:
        if name.endswith((".yaml", ".yml")):
            require(Path(name).is_file(), f"tasks: {name} does not exist")
        elif name not in manager.all_tasks:
            raise InputError(
                f"tasks: {name} is no task of the harness (`lm_eval ls tasks` lists them), nor the "
                ".yaml file of one"
            )
    try:
        loaded = manager.load(list(names))
    except (OSError, LookupError, TypeError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"tasks={','.join(names)} cannot be loaded: {reason[:300]}") from error
    inner = {child for children in loaded["group_map"].values() for child in children}
    groups = [group for name, group in loaded["groups"].items() if name not in inner]
    grouped = {task.task_name for group in groups for task in group.get_all_tasks()}
    return groups + [task for name, task in loaded["tasks"].items() if name not in grouped]


def scores(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each metric of each task and group, in the harness's order."""
    rows = []
    for task, values in found["results"].items():
        questions = found["n-samples"].get(task, {}).get("effective")
        for key, value in values.items():
            metric, comma, filtered = key.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            stderr = values.get(f"{metric}_stderr,{filtered}")
            rows.append({
                "task": task,
                "metric": metric,
                "filter": filtered,
                "value": float(value),
                "stderr": float(stderr) if isinstance(stderr, int | float) else None,
                "higher_is_better": found["higher_is_better"].get(task, {}).get(metric),
                "questions": questions,
                "shots": found["n-shot"].get(task),
            })  # fmt: skip
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of what came out."""
    width = max(len("task"), *(len(row["task"]) for row in rows))
    lines = [f"{'task':<{width}}  shots  questions  {'metric':<24}  value (standard error)"]
    for row in rows:
        name = row["metric"] + (f", {row['filter']}" if row["filter"] != "none" else "")
        error = "" if row["stderr"] is None else f" ({row['stderr']:.4f})"
        shots, questions = ("" if row[key] is None else row[key] for key in ("shots", "questions"))
        lines.append(
            f"{row['task']:<{width}}  {shots:>5}  {questions:>9}  {name:<24}  "
            f"{row['value']:.4f}{error}"
        )
    return lines


def _result(
    config: HarnessConfig, found: Mapping[str, Any], rows: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "metric": "lm_eval",
        "settings": asdict(config),
        "model": os.path.normpath(config.model.path),
        "prompt": "the model's chat template; earlier turns for worked examples",
        "lm_eval": found["lm_eval_version"],
        "seeds": {key: value for key, value in found["config"].items() if key.endswith("_seed")},
        "scores": rows,
    }


def _keep(found: dict[str, Any], output_dir: Path) -> None:
    """All that the harness says, as its own command writes it."""
    from lm_eval.utils import handle_non_serializable

    for task, samples in found.pop("samples").items():
        plain = json.loads(json.dumps(samples, default=handle_non_serializable))
        write_jsonl(output_dir / f"samples_{task}.jsonl", plain)
    with written_aside(output_dir / "harness.json") as file:
        json.dump(found, file, default=handle_non_serializable, ensure_ascii=False, indent=1)


if __name__ == "__main__":
    sys.exit(main())
