"""The hub as its client sees it: repositories in memory behind a transport of HTTP requests."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

FILES = {"config.json", "model.safetensors", "README.md"}


class FakeHub:
    """Answers what uploads and downloads of small files ask.

    `repos` are the files of each repository by name; `requests` the method and path of all that was
    requested; `down`, if set, is raised instead of any answer.
    """

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.former: dict[str, dict[str, bytes]] = {}  # by commit
        self.requests: list[tuple[str, str]] = []
        self.down: Callable[[], Exception] | None = None
        self.refusal: int | None = None

    def __call__(self, request: Any) -> Any:
        import httpx2

        self.requests.append((request.method, request.url.path))
        if self.down is not None:
            raise self.down()
        status, content, headers = self.answer(request.method, unquote(request.url.path), request)
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        if request.method == "HEAD":
            headers = {"content-length": str(len(body)), **headers}
            return httpx2.Response(status, headers=headers, request=request)
        return httpx2.Response(status, content=body, headers=headers, request=request)

    def answer(self, method: str, path: str, request: Any) -> tuple[int, Any, dict[str, str]]:
        if self.refusal is not None:
            return self.refusal, {"error": "no"}, {}
        words = path.strip("/").split("/")
        if path == "/api/repos/create":
            given = json.loads(request.content)
            name = f"{given['organization']}/{given['name']}"
            known = name in self.repos
            self.repos.setdefault(name, {})
            url = {"url": f"https://huggingface.co/{name}", "name": name}
            return (409 if known else 200), url, {}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}, {}
        if words[:2] == ["api", "models"]:
            name = "/".join(words[2:4])
            if name not in self.repos:
                return 404, {"error": "Repository not found"}, {"x-error-code": "RepoNotFound"}
            if words[4:5] == ["revision"] and not self.known(name, words[5]):
                return 404, {"error": "Revision not found"}, {"x-error-code": "RevisionNotFound"}
            if words[4:5] == ["preupload"]:
                files = json.loads(request.content)["files"]
                regular = {"uploadMode": "regular", "shouldIgnore": False}
                return 200, {"files": [{"path": f["path"], **regular} for f in files]}, {}
            if words[4:5] == ["commit"]:
                return self.commit(name, request.content)
            return 200, {"id": name, "sha": self.sha(name), "siblings": []}, {}
        return self.file("/".join(words[:2]), words[3], "/".join(words[4:]))

    def commit(self, name: str, content: bytes) -> tuple[int, Any, dict[str, str]]:
        for line in content.decode().splitlines():
            operation = json.loads(line)
            if operation["key"] == "file":
                value = operation["value"]
                self.repos[name][value["path"]] = base64.b64decode(value["content"])
        self.former[self.sha(name)] = dict(self.repos[name])
        url = f"https://huggingface.co/{name}/commit/{self.sha(name)}"
        return 200, {"commitUrl": url, "commitOid": self.sha(name), "success": True}, {}

    def file(self, name: str, revision: str, path: str) -> tuple[int, Any, dict[str, str]]:
        if name not in self.repos:
            return 404, b"", {"x-error-code": "RepoNotFound"}
        if not self.known(name, revision):
            return 404, b"", {"x-error-code": "RevisionNotFound"}
        commit = self.sha(name) if revision == "main" else revision
        files = self.former.get(commit, self.repos[name])
        if path not in files:
            return 404, b"", {"x-error-code": "EntryNotFound", "x-repo-commit": commit}
        etag = hashlib.sha256(files[path]).hexdigest()
        return 200, files[path], {"x-repo-commit": commit, "etag": f'"{etag}"'}

    def known(self, name: str, revision: str) -> bool:
        return revision in ("main", self.sha(name), *self.former)

    def sha(self, name: str) -> str:
        """The commit of a repository, which depends on its files alone."""
        files = sorted(self.repos[name].items())
        return hashlib.sha1(repr(files).encode(), usedforsecurity=False).hexdigest()


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """A hub that the client of this process asks, in the place of the one on the network."""
    import httpx2
    from huggingface_hub import close_session, set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    made = FakeHub()
    set_client_factory(lambda: httpx2.Client(transport=httpx2.MockTransport(made)))
    try:
        yield made
    finally:
        close_session()
        set_client_factory(default_client_factory)
