"""`llama-gpt4 train -m`: Hydra says which trials there are, our launcher runs them.

A sweep in order: the line is split into the sweep's own keys, Hydra's and the training's; Hydra's
sweeper (its own, or any that is installed) makes trials of it; our launcher plugin brings each
batch of them to `Sweep.launch`, which refuses all where one is misspelt, skips what an earlier
start has finished, runs the rest on the pool and returns their losses; tables and a plot close it.
"""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException, OverrideParseException

from llama_gpt4.compose import compose, compose_run, require_consistent
from llama_gpt4.config import RunConfig
from llama_gpt4.errors import ExitCode, InputError
from llama_gpt4.help import wants_help
from llama_gpt4.overrides import quoted, quoted_override
from llama_gpt4.program import hold, run_program
from llama_gpt4.programs import split_verb
from llama_gpt4_launch.sweep_config import SweepConfig, SweepProgram
from llama_gpt4_launch.sweep_pool import Pool
from llama_gpt4_launch.sweep_report import plot, ranked, summarise, table, write_tables
from llama_gpt4_launch.sweep_trial import FINAL, OVER, Status, Trial

FLAGS = ("-m", "--multirun")
MAX_NAME = 100
"""Letters of a trial's name; file systems take no more than 255 bytes."""


def main(argv: Sequence[str]) -> int:
    program, _ = split_verb(argv)
    if any(argument in ("-h", "--help") for argument in argv):
        wants_help(f"{program} -m", SweepProgram, ["--help"])
        return ExitCode.DONE
    return run_program(program, lambda report: run(argv, lambda config, sweep_dir: Pool(config)))


class Place(Protocol):
    """Where trials run."""

    starts: bool
    """Whether it does, and does not only show what would."""

    def processes(self, configs: Sequence[RunConfig]) -> list[int]: ...
    def ready(self, trials: Sequence[Trial]) -> None: ...
    def run(self, trials: Sequence[Trial], on_change: Callable[[Trial], None]) -> None: ...


def run(arguments: Sequence[str], place_of: Callable[[SweepConfig, Path], Place]) -> None:
    """Run the sweep of a command line; exits with the code of what is left to do."""
    line = Line(arguments)
    sweep_dir = Path(os.path.abspath(line.config.dir.replace("{hash}", line.hash)))
    place = place_of(line.config, sweep_dir)
    is_new = not sweep_dir.exists()
    lock = hold(sweep_dir)
    sweep = Sweep(line, sweep_dir, place)
    try:
        _let_hydra_sweep(sweep, line, sweep_dir)
    finally:
        sweep.report()
        if is_new and not sweep.has_started:
            shutil.rmtree(sweep_dir)
        os.close(lock)
    code = sweep.code()
    if code is not ExitCode.DONE:
        sys.exit(code)


class Line:
    """What was typed, by whom it is for."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.program, words = split_verb([word for word in arguments if word not in FLAGS])
        for word in words:
            if word.startswith("-"):
                raise InputError(f"{word} is for a single run: leave it or -m out")
        own = [word for word in words if re.match(r"[+~]*sweep[.=]", word)]
        typed = [word for word in words if word not in own]
        self.config: SweepConfig = compose(SweepProgram, "sweep", own).sweep
        params = [f"{k}={v}" for k, v in self.config.params.items()]
        self.overrides = [quoted_override(word) for word in [*params, *typed]]
        parsed = _parse(self.overrides)
        _require_ours(override.key_or_group for override in parsed)
        # A key that is given twice has its last value, as everywhere.
        last = {override.get_key_element(): override for override in parsed}
        training = [override for override in last.values() if not override.is_hydra_override()]
        self.fixed_keys = {o.get_key_element() for o in training if not o.is_sweep_override()}
        # Unknown keys and wrong types are found before Hydra, whose messages are less clear.
        single = [first for o in training if (first := _first_value(o)) is not None]
        compose_run(self.program, single)
        lines = sorted(str(override.input_line) for override in training)
        self.hash = hashlib.sha256("\n".join([self.program, *lines]).encode()).hexdigest()[:8]


class Sweep:
    """The trials so far; for Hydra its task function, which our launcher plugin hands batches."""

    def __init__(self, line: Line, sweep_dir: Path, place: Place) -> None:
        self.has_started = False
        self._line, self._dir, self._place = line, sweep_dir, place
        self._trials: dict[str, Trial] = {}

    def launch(self, job_overrides: Sequence[Sequence[str]]) -> list[JobReturn]:
        """Run a batch of trials; each returns its last loss, which sweepers minimise: infinity for
        one that has not got there, so that its failure does not end the sweep."""
        configs = [compose_run(self._line.program, overrides) for overrides in job_overrides]
        counts = self._place.processes(configs)
        trials = [
            self._trial(overrides, config, n)
            for overrides, config, n in zip(job_overrides, configs, counts, strict=True)
        ]
        for trial in trials:
            require_consistent(trial.config, trial.processes)
        once = list({trial.name: trial for trial in trials}.values())
        for trial in once:
            if (trial.status in FINAL or trial.recall()) and self._place.starts:
                print(f"{trial.name}: {trial.status} already", flush=True)
        self._place.ready([trial for trial in once if trial.status not in FINAL])
        self.has_started = self._place.starts
        self._place.run(once, self._on_change)
        return [
            JobReturn(
                overrides=overrides,
                working_dir=str(trial.run_dir),
                status=JobStatus.COMPLETED,
                _return_value=_returned(trial),
            )
            for overrides, trial in zip(job_overrides, trials, strict=True)
        ]

    def report(self) -> None:
        """The table and the plot of all trials, where any has started."""
        trials = list(self._trials.values())
        if not self.has_started:
            return
        write_tables(self._dir, trials)
        print(f"\n{table(trials)}\n\n{plot(self._dir, trials)}")
        best = ranked(trials)[0]
        if best.status is Status.DONE:
            print(f"best: {best.name}\nmodel {best.run_dir / 'model'}")
        tracking = best.config.tracking
        if tracking.kind == "wandb":
            print(f"Weights & Biases: project {tracking.project}, group {tracking.group}")
            if all(trial.status in OVER for trial in trials):
                print(summarise(self._dir))
        print(f"sweep directory {self._dir} (sweep.json, sweep.csv)", flush=True)

    def code(self) -> ExitCode:
        """0 when nothing is left to do; else what the unfinished trials have in common."""
        is_over = (*FINAL, Status.WAITING, Status.RUNNING)  # the latter in a queue, or shown only
        left = {trial.code for trial in self._trials.values() if trial.status not in is_over}
        if not left:
            return ExitCode.DONE
        verb = self._line.program
        print(f"llama-gpt4 {verb}: the same line tries again what is not done", file=sys.stderr)
        return left.pop() if len(left) == 1 else ExitCode.BUG

    def _trial(self, overrides: Sequence[str], config: RunConfig, processes: int) -> Trial:
        swept = {
            override.get_key_element().lstrip("+"): override.get_value_element_as_str()
            for override in _parse(overrides)
            if override.get_key_element() not in self._line.fixed_keys
        }
        name = trial_name(swept)
        group = config.tracking.group or self._dir.name
        config = replace(
            config,
            run_dir=str(self._dir / name),
            tracking=replace(config.tracking, group=group),
        )
        return self._trials.setdefault(
            name, Trial(name=name, swept=swept, config=config, processes=processes)
        )

    def _on_change(self, trial: Trial) -> None:
        if trial.status is Status.RUNNING:
            print(f"{trial.name}: starts", flush=True)
        else:
            loss = "" if trial.curve.last is None else f", loss {trial.curve.last:.4f}"
            why = f": {trial.message}" if trial.message else ""
            print(f"{trial.name}: {trial.status} in {trial.seconds:.0f} s{loss}{why}", flush=True)
        write_tables(self._dir, list(self._trials.values()))


def trial_name(swept: dict[str, str]) -> str:
    """`key=value,key=value` as a folder's name; a hash tells apart what it has to shorten."""
    full = ",".join(f"{key}={value}" for key, value in swept.items()) or "single"
    name = re.sub(r"[^\w.,=+-]+", "_", full)[:MAX_NAME]
    if name == full:
        return name
    return f"{name}-{hashlib.sha256(full.encode()).hexdigest()[:8]}"


def _let_hydra_sweep(sweep: Sweep, line: Line, sweep_dir: Path) -> None:
    own = ["hydra/launcher=llama_gpt4", f"hydra.sweep.dir={quoted(str(sweep_dir))}"]
    with hydra.initialize_config_module("llama_gpt4_conf", version_base="1.3"):
        machinery = GlobalHydra.instance().hydra
        assert machinery is not None
    # Outside of it: only one may be initialised, and every trial is composed on its own.
    try:
        machinery.multirun(
            line.program, sweep, [*line.overrides, *own], with_log_configuration=False
        )
    except HydraException as error:
        raise InputError(_one_line(error)) from error


def _require_ours(keys: Iterable[str]) -> None:
    """Refuse what the sweep decides itself."""
    for key in keys:
        if key in ("run_dir", "hydra.sweep.dir"):
            raise InputError(f"{key} follows from sweep.dir, a folder of its own a trial: use that")
        if key == "hydra/launcher":
            raise InputError("a sweep runs on our own launcher: leave hydra/launcher out")


def _parse(overrides: Sequence[str]) -> list[Override]:
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException as error:
        raise InputError(
            f"cannot read the override {error.override!r}: write key=value, and quote values with "
            "spaces, as in 'key=\"a b\"'"
        ) from error


def _first_value(override: Override) -> str | None:
    """The override as a single run could have it; None where only Hydra knows its values."""
    if not override.is_sweep_override():
        return str(override.input_line)
    if override.is_interval_sweep():
        return f"{override.get_key_element()}={override.value().start}"
    if override.value_type is ValueType.GLOB_CHOICE_SWEEP:
        return None
    return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"


def _returned(trial: Trial) -> float:
    last = trial.curve.last
    return last if trial.status in FINAL and last is not None else float("inf")


def _one_line(error: Exception) -> str:
    cause = f" {error.__cause__}" if error.__cause__ is not None else ""
    return " ".join(f"{error}{cause}".split())
