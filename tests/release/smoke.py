"""Build wheel and source archive, and try each alone: python -m tests.release.smoke [--torch 2.6.0]

Without a version the core dependencies are those of this environment; with one they are installed
into a new environment, by this Python or by the one that --python names.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import tomllib
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 3600  # seconds for one step: a torch for GPUs has gigabytes
SCRIPT = Path(__file__).with_name("core_only.py")


class SmokeError(RuntimeError):
    """A step that failed, with the last of what it printed."""


def run(words: list[str], what: str, cwd: Path = ROOT) -> str:
    """What a command prints.

    Raises:
        SmokeError: if it fails, with what was being done.
    """
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        done = subprocess.run(
            words, cwd=cwd, env=clean, check=False, timeout=PATIENCE, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired as error:
        raise SmokeError(f"{what} was stopped after {PATIENCE} seconds.") from error
    if done.returncode:
        raise SmokeError(f"{what} failed:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def build(out: Path) -> tuple[Path, Path]:
    """Wheel and source archive of the working tree, the wheel made from the archive.

    Raises:
        SmokeError: if they cannot be built.
    """
    words = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    run(words, "Building")
    (wheel,), (archive,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, archive


def alone(package: Path, work: Path, python: str = sys.executable) -> str:
    """Install one file without its dependencies into an empty folder, and run `core_only` on it."""
    folder = work / re.sub(r"\W", "_", package.name)
    words = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    run([*words, "--target", str(folder), str(package)], f"Installing {package.name}")
    return run([python, "-I", str(SCRIPT), str(folder)], f"Using {package.name}", work)


def new_environment(version: str, work: Path, python: str, oldest: bool) -> str:
    """The Python of a new environment with this torch (CPU where it is found) and, if `oldest`, the
    oldest numpy and safetensors that the project allows."""
    run([python, "-m", "venv", str(work / "venv")], "Making an environment")
    inside = str(work / "venv" / "bin" / "python")
    pip = [inside, "-m", "pip", "install", "--quiet", "--no-compile"]
    try:
        run([*pip, f"torch=={version}+cpu"], f"Installing torch {version}+cpu")
    except SmokeError:
        run([*pip, f"torch=={version}"], f"Installing torch {version}")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [line for line in project["dependencies"] if not line.startswith("torch")]
    if oldest:
        wanted = [line.replace(">=", "==") + ".*" for line in wanted]
    run([*pip, *wanted], f"Installing {' '.join(wanted)}")
    return inside


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.release.smoke", description=__doc__)
    parser.add_argument("--torch", help="a version, for a new environment")
    parser.add_argument("--python", default=sys.executable, help="of the new environment")
    parser.add_argument("--newest", action="store_true", help="newest numpy and safetensors in it")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        try:
            wheel, archive = build(work / "dist")
            if given.torch is None:
                print(alone(wheel, work) + alone(archive, work), end="")
            else:
                inside = new_environment(given.torch, work, given.python, not given.newest)
                print(alone(wheel, work, inside), end="")
        except SmokeError as error:
            print(error, file=sys.stderr)
            return 1
    print(f"{date.today()}, {platform.machine()} {platform.system()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
