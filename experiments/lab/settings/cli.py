"""Command lines: parsed into a frozen dataclass; errors become one sentence."""

from __future__ import annotations

import dataclasses
import io
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

import tyro

from experiments.lab.runs.parent import end_with_starter
from experiments.lab.settings.limits import require_in_range
from experiments.lab.settings.registry import (
    ConfigError,
    method_options,
    methods,
    nearest,
    require,
    tasks,
)
from experiments.lab.settings.task_options import task_options
from experiments.lab.settings.words import require_words

Config = TypeVar("Config")

# Former names of flags: they work for one release, and a sentence says the new name.
FORMER_FLAGS = {
    "--glances": "--max-shift", "--pace": "--rate-scale", "--moments": "--fractions",
}  # fmt: skip


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def peek(argv: Sequence[str], name: str, default: str) -> str:
    """The value of one flag, read before parsing because defaults of others depend on it."""
    wanted, value = flag(name), default
    for word, after in zip_longest(argv, argv[1:], fillvalue=default):
        if word == wanted:
            value = after
        elif word.startswith(wanted + "="):
            value = word.partition("=")[2]
    return value


def is_given(argv: Sequence[str], name: str) -> bool:
    """Whether a command line has a flag."""
    return any(word.partition("=")[0] == flag(name) for word in argv)


def parse(config: type[Config], argv: Sequence[str], default: Config) -> Config:
    """The command line as a config, over `default`; an unknown flag names the closest known one."""
    argv = current_flags(config, argv)
    known = [flag(field.name) for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    accepted = {"--help", *known, *(f"--no-{name[2:]}" for name in known)}
    for word in argv:
        given = word.partition("=")[0].replace("_", "-")
        if given.startswith("--") and given not in accepted:
            raise nearest(given, known, "a flag of this command")
    require_words(config, argv)
    if "-h" in argv or "--help" in argv:
        argv = ["--help"]
    box = io.StringIO()
    try:
        with redirect_stderr(box):
            parsed = tyro.cli(
                config,
                prog=f"python -m experiments.{Path(sys.argv[0]).stem}",
                args=list(argv),
                default=default,
                description=f"{config.__doc__}\n\n{_listed(default)}",
            )
    except SystemExit as end:
        if not end.code:
            raise
        raise ConfigError(_unboxed(box.getvalue())) from None
    require_in_range(parsed)
    require(getattr(parsed, "task", "sines"), tasks(), "a task")
    named = [getattr(parsed, "method", ""), *getattr(parsed, "methods", ())]
    for method in filter(None, named):
        require(method.partition(",")[0], methods(), "a method")
    return parsed


def current_flags(config: type[Any], argv: Sequence[str]) -> list[str]:
    """A command line with the former flags of `config` by their present names."""
    known = {flag(field.name) for field in dataclasses.fields(config)}
    words = []
    for word in argv:
        given, equals, value = word.partition("=")
        if given in FORMER_FLAGS and FORMER_FLAGS[given] in known:
            print(f"{given} is now called {FORMER_FLAGS[given]}.", file=sys.stderr)
            word = FORMER_FLAGS[given] + equals + value
        words.append(word)
    return words


def _unboxed(box: str) -> str:
    """The first sentence of tyro's error box."""
    inside = re.sub("[│╭╮╰╯]", " ", box.partition("\n")[2])
    first = next((part for part in re.split("[─-]{9,}", inside) if part.strip()), box)
    said = " ".join(first.split()).removeprefix("Error parsing ").rstrip(".")
    return f"{said} (see --help)."


def as_argv(config: Any) -> list[str]:
    """The command line that gives this config with any preset."""
    words: list[str] = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, bool):
            words += [flag(field.name)] if value else []
        elif isinstance(value, tuple):
            words += [flag(field.name), *map(str, value)] if value else []
        else:
            words += [flag(field.name), str(value)]
    return words


def _listed(config: object) -> str:
    """The text of --help on methods and tasks, with the options of the chosen ones."""
    lines = []
    if hasattr(config, "method") or hasattr(config, "methods"):
        lines += ["Methods:", *(f"  {name}: {line}" for name, line in methods().items()), ""]
    if method := getattr(config, "method", None):
        options = " ".join(f"{name}={value}" for name, value in method_options(method).items())
        lines += [f"Options of {method}:", f"  {options or 'none'}", ""]
    if hasattr(config, "task"):
        lines += ["Tasks:", *(f"  {name}: {line}" for name, line in tasks().items())]
        task, preset = config.task, getattr(config, "preset", "laptop")
        if task in tasks():
            options = "\n  ".join(task_options(task, preset))
            lines += ["", f"Options of {task} (--stream) by --preset {preset}:", f"  {options}"]
    return "\n".join(lines)


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM, which a script handles like a keyboard interrupt."""


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """A context in which SIGTERM raises `Terminated`, unless it has another handler."""
    alone = threading.current_thread() is threading.main_thread()
    if not alone or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    received = False

    def end(*_: object) -> None:
        nonlocal received
        if not received:  # `timeout` sends it twice; the second must not interrupt the exit
            received = True
            raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def run(
    main: Callable[[Sequence[str]], None],
    argv: Sequence[str] | None = None,
    again: str = "the same command starts again.",
) -> None:
    """Call `main`; errors become one sentence and an exit status.

    `again` says how to continue after an interrupt.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    try:
        with _ending_on_sigterm():
            end_with_starter()
            _run_and_flush(main, arguments)
    except Terminated:
        sys.exit(_say(f"stopped by SIGTERM; {again}", 128 + signal.SIGTERM))
    except KeyboardInterrupt:
        sys.exit(_say(f"stopped by the keyboard; {again}", 130))
    except ConfigError as error:
        if "--debug" in arguments:
            raise
        sys.exit(_say(sentence(error), 2))
    except Exception as error:
        from metaplastic.support.output import finish_output  # with torch, so no sooner

        if finish_output(error):
            sys.exit(0)  # whoever reads has enough, as in `... --help | head`
        if "--debug" in arguments:
            raise
        sys.exit(_say(sentence(error), 1))


def _run_and_flush(main: Callable[[Sequence[str]], None], arguments: Sequence[str]) -> None:
    """As in `metaplastic.support.output`, which would import torch for --help."""
    try:
        main(arguments)
    except SystemExit:  # of --help
        sys.stdout.flush()
        raise
    sys.stdout.flush()


def sentence(error: Exception) -> str:
    """The message of an error in one line."""
    text = " ".join(str(error).split())
    if type(error).__module__.split(".")[0] in OURS:
        return text
    if isinstance(error, OSError):
        from metaplastic.support.output import sentence_of

        if of_a_file := sentence_of(error):
            return of_a_file
    if isinstance(error, ValueError):
        return text
    return f"{type(error).__name__}: {text} (--debug shows where)."


OURS = ("metaplastic", "tasks", "experiments")


def _say(text: str, status: int) -> int:
    print("error: " + re.sub(r"^error: ", "", text), file=sys.stderr)
    return status
