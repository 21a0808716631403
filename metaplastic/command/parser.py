"""The command line: three commands, and every bad input a sentence and the exit status 2."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

from metaplastic.command.errors import CommandError
from metaplastic.command.listing import rule_named, table_of_rules, text_of
from metaplastic.files.rule_file import RuleFileError
from metaplastic.support.choices import did_you_mean
from metaplastic.support.optional import MissingPackageError
from metaplastic.support.output import finish_output, run_and_flush, sentence_of

BAD = 2  # the exit status of a command line that cannot be followed
COMMANDS = ("rules", "show", "plug")
RULE = "a named rule, a shipped one, the folder of a rule file, or user/name on the hub"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (`{self.prog} --help` says what can be given).")


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    made = _Parser(
        prog="metaplastic", description="Learning rules for neural networks, by name or from files."
    )
    commands = made.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    commands.add_parser("rules", help="list the named and the shipped rules with their three parts")
    show = commands.add_parser("show", help="the equation, the parts and the card of a rule")
    show.add_argument("rule", metavar="RULE", help=RULE)
    show.add_argument("--figure", type=Path, metavar="FILE", help="draw it, too (matplotlib)")
    plug = commands.add_parser(
        "plug",
        help="put a rule into a network and let it learn",
        description="Put a rule into a network of torchvision or timm, learn a few examples one by "
        "one, and say what was reached. Without --model, all arguments go to the comparison of the "
        "lab, `python -m experiments.plug`.",
    )
    plug.add_argument("rule", metavar="RULE", help=RULE)
    plug.add_argument("--model", metavar="NAME", help="such as resnet18, of torchvision or timm")
    plug.add_argument("--data", type=Path, metavar="FOLDER", help="a folder of images for each "
                      "class; without it, patterns in noise")  # fmt: skip
    plug.add_argument("--examples", type=int, default=200, metavar="N", help="(200)")
    plug.add_argument("--classes", type=int, default=5, metavar="N", help="of the patterns (5)")
    plug.add_argument("--size", type=int, metavar="PIXELS", help="of the images, a side")
    plug.add_argument("--rate", type=float, metavar="R", help="of a named rule; of a rule with "
                      "rates of its own, what multiplies them")  # fmt: skip
    plug.add_argument("--seed", type=int, default=0, metavar="N", help="(0)")
    plug.add_argument("--pretrained", action="store_true", help="fetch the package's weights")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    try:
        return run_and_flush(lambda: _run(words))
    except (CommandError, RuleFileError, MissingPackageError) as error:
        sentence = " ".join(str(error).split())
    except KeyboardInterrupt:
        sys.stderr.write("stopped by the keyboard.\n")
        return 130
    except OSError as error:
        if finish_output(error):  # whoever reads has enough, as in `metaplastic rules | head`
            return 0
        said = sentence_of(error) or f"{type(error).__name__}: {error}"
        sys.stderr.write(f"error: {said}\n")
        return 1
    sys.stderr.write(f"error: {sentence}\n")
    return BAD


def _run(words: list[str]) -> int:
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        raise CommandError(
            f"{words[0]!r} is not a command of metaplastic; give one of {', '.join(COMMANDS)}."
            f"{did_you_mean(words[0], COMMANDS)}"
        )
    helped = {"-h", "--help"} & set(words)
    given = any(word.partition("=")[0] == "--model" for word in words)
    if words[:1] == ["plug"] and len(words) > 1 and not given and not helped:
        return _compare(words[1:])
    options = parser().parse_args(words)
    if options.command is None:
        parser().print_help()
        return 0
    if options.command == "rules":
        sys.stdout.write(table_of_rules() + "\n")
    elif options.command == "show":
        found = rule_named(options.rule)
        sys.stdout.write(text_of(found) + "\n")
        if options.figure is not None:
            from metaplastic.command.figure import draw

            draw(found, options.figure)
            sys.stdout.write(f"\nThe figure is {options.figure}.\n")
    else:
        from metaplastic.command.adapt import adapt

        for line in adapt(options):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    return 0


def _compare(words: list[str]) -> int:
    """The comparison of the lab, where this runs from the repository."""
    try:
        there = find_spec("experiments.plug") is not None
        there = there and find_spec("experiments.lab.settings.cli") is not None
    except ModuleNotFoundError:
        there = False
    if not there:
        raise CommandError(
            "without --model, plug runs the comparison of the lab, which comes with the repository "
            "and not with the package: give --model NAME of torchvision or timm, or run "
            "`python -m experiments.plug` in a clone, after `make env`."
        )
    try:
        cli = import_module("experiments.lab.settings.cli")
    except ImportError as error:
        raise CommandError(
            f"the comparison of the lab needs {error.name}, which is not installed: `make env`, or "
            '`pip install -e ".[lab]"`, in the clone.'
        ) from error
    if not words[0].startswith("-"):
        rule_named(words[0])
    cli.run(import_module("experiments.plug").main, words)
    return 0
