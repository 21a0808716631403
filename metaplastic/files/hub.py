"""Rule files on the Hugging Face hub: the same two files, and the card as the model card.

What is loaded is checked as a local file is: JSON and safetensors, each with its sha256. The config
is read before the tensors are fetched, so that a repository of something else costs no download.
Needs the extra `hub`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from metaplastic.files.card import card_of, header
from metaplastic.files.rule_file import (
    CONFIG,
    TENSORS,
    RuleFileError,
    from_pretrained,
    read_config,
    read_tensors,
    save_pretrained,
)
from metaplastic.inner.learner import OnlineLearner
from metaplastic.support.catalog import CARD as LOCAL_CARD
from metaplastic.support.catalog import HUB_NAME, find
from metaplastic.support.optional import need

CARD = "README.md"  # the name by which the hub shows it
INSTALL = "'metaplastic[hub]'"
TIMEOUT = 10.0  # seconds for an answer of the hub


def push_to_hub(
    rule: OnlineLearner | str | Path,
    repo: str,
    *,
    card: str | None = None,
    provenance: Mapping[str, Any] | None = None,
    half: bool = False,
    license: str | None = None,
    tags: Sequence[str] = (),
    private: bool | None = None,
    token: str | None = None,
    message: str = "A rule file of metaplastic",
) -> str:
    """Write a rule file to a repository of the hub, which is made if there is none.

    Args:
        rule: a learner, or the folder of a rule file (or the name of a shipped learner), whose
            files are then uploaded as they are, with their provenance.
        repo: `user/name`.
        card: the text of the model card; by default the folder's `CARD.md`, or one that is made of
            what the rule file says. A YAML header is put before it unless it has one.
        provenance, half: of a learner, as for `save_pretrained`.
        license, tags: for the header of the card.
        private, token: as for `huggingface_hub.create_repo`.
        message: of the commit.

    Returns:
        The address of the repository.

    Raises:
        RuleFileError: for a name that is not `user/name`, something that is no rule file, or
            if the hub cannot be reached or refuses; the message is one sentence.
        MissingPackageError: without huggingface_hub.
    """
    if not isinstance(repo, str) or HUB_NAME.fullmatch(repo) is None:
        raise RuleFileError(f"repo is {repo!r}; a repository of the hub is named 'user/name'.")
    hub = _hub()
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "rule"
        if isinstance(rule, OnlineLearner):
            save_pretrained(rule, folder, provenance, half)
        else:
            if provenance is not None or half:
                raise RuleFileError(
                    "provenance and half are of a learner; a rule file is uploaded as it is."
                )
            source = find(rule)
            tensors = read_tensors(source, read_config(source))  # checked, before they are sent
            folder.mkdir()
            (folder / CONFIG).write_bytes((source / CONFIG).read_bytes())
            (folder / TENSORS).write_bytes(tensors)
            if card is None and (source / LOCAL_CARD).is_file():
                card = (source / LOCAL_CARD).read_text(encoding="utf-8")
        config = read_config(folder)
        if card is None:
            learner = rule if isinstance(rule, OnlineLearner) else from_pretrained(folder)
            card = card_of(learner, repo, config["provenance"])
        text = card if card.startswith("---\n") else header(license, tags) + "\n" + card
        (folder / CARD).write_text(text, encoding="utf-8")
        with _saying(hub, repo, "written to"):
            api = hub.HfApi(token=token, library_name="metaplastic")
            url = api.create_repo(repo, private=private, exist_ok=True)
            api.upload_folder(repo_id=repo, folder_path=folder, commit_message=message)
    return str(url)


def download(name: str, revision: str | None = None) -> Path:
    """The local folder of the rule file in a repository, fetched where it is not in the cache.

    Raises:
        RuleFileError: if there is no such repository or revision, it holds no rule file, or it is
            not in the cache and the hub cannot be reached.
        MissingPackageError: without huggingface_hub.
    """
    hub = _hub(f"There is no folder {name!r} here, and a rule of that name on the hub")
    own: dict[str, Any] = {"library_name": "metaplastic"}
    with _saying(hub, name, "read from"):
        try:  # one question, because the download repeats its own for half a minute
            api = hub.HfApi(library_name="metaplastic")
            api.model_info(name, revision=revision, timeout=TIMEOUT)
        except (hub.errors.RepositoryNotFoundError, hub.errors.RevisionNotFoundError):
            raise
        except (OSError, _transport(hub)):  # no network: what is in the cache
            own["local_files_only"] = True
        config = Path(hub.hf_hub_download(name, CONFIG, revision=revision, **own))
    read_config(config.parent)
    with _saying(hub, name, "read from"):
        # Of the commit that the config is of, whatever was uploaded since.
        hub.hf_hub_download(name, TENSORS, revision=config.parent.name, **own)
    return config.parent


def _hub(why: str = "A rule on the hub") -> Any:
    return need("huggingface_hub", why, INSTALL)


def _transport(hub: Any) -> type[Exception]:
    """What its client raises where the hub is not reached, which is no OSError."""
    found: type[Exception] = getattr(hub.errors, "HTTPError", OSError)
    return found


class _saying:  # noqa: N801  a context manager is used like a function
    """A context that turns what the hub's client raises into one sentence."""

    def __init__(self, hub: Any, name: str, done: str) -> None:
        self.errors, self.transport = hub.errors, _transport(hub)
        self.name, self.done = name, done

    def __enter__(self) -> None:
        return None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        errors, transport = self.errors, self.transport
        if not isinstance(error, (OSError, ValueError, transport)):
            return
        said = f"{self.name!r} cannot be {self.done} the hub: "
        if isinstance(error, errors.GatedRepoError):
            said += (
                "access to it must be requested on its page, and a token given (`hf auth login`)."
            )
        elif isinstance(error, errors.RepositoryNotFoundError):
            said += (
                "there is no such folder here and no such repository there, or it is private and "
                "no token that may read it was given (`hf auth login`)."
            )
        elif isinstance(error, errors.RevisionNotFoundError):
            said += "it has no such revision."
        elif isinstance(error, errors.LocalEntryNotFoundError):
            said += (
                "there is no such folder here, it is not in the cache of this machine, and the hub "
                "cannot be reached; try again with a network, or name a folder."
            )
        elif isinstance(error, errors.EntryNotFoundError):
            said += "it holds no rule file, which is config.json and model.safetensors."
        else:
            status = getattr(getattr(error, "response", None), "status_code", None)
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            if status in (401, 403):
                reason = f"the hub refuses it ({status}); give a token that may (`hf auth login`)"
            elif status is None and isinstance(error, transport):
                reason = f"the hub cannot be reached ({reason}); try again with a network"
            said += reason.rstrip(".") + "."
        raise RuleFileError(said) from error
