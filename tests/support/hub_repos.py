"""Repositories and tokens of the stand-in Hub: what `hub_server` serves, without any HTTP."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["model", "dataset"]
Access = Literal["read", "write"] | list[str]
"""What a token may do; a list makes a fine-grained token that may write only to those repositories or namespaces."""

LFS_SUFFIXES = (".safetensors", ".bin", ".parquet", ".pt", ".gz", ".zip", ".png")
LFS_FROM_BYTES = 1_000_000


@dataclass(frozen=True)
class Commit:
    """One state of a repository."""

    sha: str
    message: str
    files: dict[str, bytes]


@dataclass
class Repo:
    """One repository with its linear history."""

    kind: Kind
    repo_id: str
    private: bool = False
    gated: bool = False
    commits: list[Commit] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> Commit:
        """The commit that `main` points to."""
        return self.commits[-1]

    @property
    def files(self) -> dict[str, bytes]:
        """Files at `main`."""
        return self.head.files

    def commit(self, changes: Mapping[str, bytes | str | None], message: str = "Upload files") -> str:
        """Put one commit on `main` (None removes a file) and return its sha."""
        files = dict(self.commits[-1].files) if self.commits else {}
        for path, content in changes.items():
            if content is None:
                files.pop(path, None)
            else:
                files[path] = content.encode() if isinstance(content, str) else content
        digest = hashlib.sha1(f"{self.commits[-1].sha if self.commits else ''}{message}".encode())
        for path in sorted(files):
            digest.update(path.encode() + hashlib.sha256(files[path]).digest())
        self.commits.append(Commit(digest.hexdigest(), message, files))
        return self.commits[-1].sha

    def at(self, revision: str) -> Commit | None:
        """The commit of a branch (`main` only), tag or sha."""
        if revision in ("main", "refs/heads/main", "HEAD"):
            return self.head
        wanted = self.tags.get(revision, revision)
        return next((commit for commit in self.commits if commit.sha == wanted), None)


def is_lfs(path: str, size: int) -> bool:
    """Whether the Hub would keep this file in large file storage."""
    return path.endswith(LFS_SUFFIXES) or size > LFS_FROM_BYTES


def git_oid(content: bytes) -> str:
    """Git's own hash of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def remote_oid(path: str, content: bytes) -> str:
    """The hash by which the client tells that a file has not changed: sha256 for large files, git's for others."""
    return hashlib.sha256(content).hexdigest() if is_lfs(path, len(content)) else git_oid(content)


def file_entry(path: str, content: bytes) -> dict[str, Any]:
    """A file as tree and paths-info describe it."""
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
    if is_lfs(path, len(content)):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry


def tree_entries(files: Mapping[str, bytes], folder: str, recursive: bool) -> list[dict[str, Any]] | None:
    """Files and folders below `folder`; None when there is no such folder."""
    prefix = f"{folder}/" if folder else ""
    below = {path[len(prefix) :]: content for path, content in files.items() if path.startswith(prefix)}
    if folder and not below:
        return None
    folders = {
        "/".join(path.split("/")[:depth])
        for path in below
        for depth in range(1, path.count("/") + 1)
        if recursive or depth == 1
    }
    entries = [{"type": "directory", "path": prefix + name, "size": 0, "oid": "0" * 40} for name in sorted(folders)]
    return entries + [
        file_entry(prefix + path, content) for path, content in sorted(below.items()) if recursive or "/" not in path
    ]


def paths_entries(files: Mapping[str, bytes], paths: list[str]) -> list[dict[str, Any]]:
    """What paths-info says of each path that exists."""
    found = []
    for path in paths:
        if path in files:
            found.append(file_entry(path, files[path]))
        elif any(name.startswith(f"{path}/") for name in files):
            found.append({"type": "directory", "path": path, "size": 0, "oid": "0" * 40})
    return found


def card_data(commit: Commit) -> dict[str, Any]:
    """The front matter of a repository's README.md."""
    import yaml

    parts = commit.files.get("README.md", b"").decode(errors="replace").split("---\n")
    data = yaml.safe_load(parts[1]) if len(parts) > 2 and not parts[0] else None
    return data if isinstance(data, dict) else {}


def repo_info(repo: Repo, commit: Commit, blobs: bool = False) -> dict[str, Any]:
    """What the Hub says about a repository at one commit; with `blobs` also the sizes of its files."""
    sizes = {path: {"size": len(content)} if blobs else {} for path, content in commit.files.items()}
    return {
        "cardData": card_data(commit),
        "_id": git_oid(repo.repo_id.encode()),
        "id": repo.repo_id,
        "modelId": repo.repo_id,
        "author": repo.repo_id.split("/")[0],
        "sha": commit.sha,
        "private": repo.private,
        "gated": "manual" if repo.gated else False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [],
        "createdAt": "2024-01-01T00:00:00.000Z",
        "lastModified": "2024-01-01T00:00:00.000Z",
        "siblings": [{"rfilename": path, **sizes[path]} for path in sorted(commit.files)],
    }


def whoami(user: str, orgs: Mapping[str, str], access: Access) -> dict[str, Any]:
    """What `/api/whoami-v2` says about a token, in the Hub's own shape."""
    token: dict[str, Any] = {"displayName": "test", "createdAt": "2024-01-01T00:00:00.000Z"}
    if isinstance(access, list):
        scoped = [
            {
                "entity": {"_id": "1", "type": "model" if "/" in name else "user", "name": name},
                "permissions": ["repo.content.read", "repo.write"],
            }
            for name in access
        ]
        token |= {"role": "fineGrained", "fineGrained": {"canReadGatedRepos": True, "global": [], "scoped": scoped}}
    else:
        token["role"] = access
    return {
        "type": "user",
        "id": "1",
        "name": user,
        "fullname": user,
        "isPro": False,
        "orgs": [{"type": "org", "id": "2", "name": name, "roleInOrg": role} for name, role in orgs.items()],
        "auth": {"type": "access_token", "accessToken": token},
    }
