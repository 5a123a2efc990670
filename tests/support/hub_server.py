"""A loopback stand-in of the Hugging Face Hub, for the real `huggingface_hub`, `transformers` and `datasets` clients.

It stands in for huggingface.co: repositories of models and datasets with commits, tree listing, downloads (ETag,
X-Repo-Commit, Range; large files by redirect to a second host, as the Hub's CDN does), repository creation, the LFS
upload protocol, commits, tokens (read, write, fine-grained), private and gated repositories. Not stood in for: the xet
protocol (clients must run with HF_HUB_DISABLE_XET=1, which `env` and `use` set), branches other than `main`, pull
requests, and repository ids without an owner.

    with HubServer() as hub:                                # token "hf_write" may write, "hf_read" may not; user "acme"
        sha = hub.add_repo("dataset", "acme/questions", {"train.jsonl": b"..."}, private=False, gated=False)
        hub.repo("dataset", "acme/questions").commit({"test.jsonl": b"..."})        # a further commit
        subprocess.run(..., env=os.environ | hub.env("hf_write"))   # a process that talks to this Hub
        hub.use(monkeypatch, tmp_path / "cache", "hf_write")        # or: this process talks to it
        hub.fail_next(503, times=2, path="/commit/")        # faults; see `fail_next`
        hub.repo("model", "acme/tuned").files, .commits, .private   # what was uploaded
        hub.requests                                        # [(method, path, token or None), ...]
        hub.tokens["hf_fine"] = ["acme/tuned"]; hub.granted.add("hf_read"); hub.orgs["lab"] = "write"
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from support.hub_http import Fault, QuietServer
from support.hub_repos import Access, Kind, Repo
from support.hub_routes import HubHandler


@dataclass(frozen=True)
class Request:
    """One request that the Hub saw."""

    method: str
    path: str
    token: str | None


class HubServer:
    """The stand-in Hub; `url` is its address while the `with` block runs."""

    def __init__(self) -> None:
        self.user = "acme"
        self.orgs: dict[str, str] = {}
        self.tokens: dict[str, Access] = {"hf_write": "write", "hf_read": "read"}
        self.granted: set[str] = set()
        """Tokens whose owner was let into the gated repositories."""
        self.requests: list[Request] = []
        self.large_files: dict[str, bytes] = {}
        """Content of large file storage, by sha256."""
        self.lock = threading.RLock()
        self._repos: dict[tuple[str, str], Repo] = {}
        self._faults: list[Fault] = []
        self._server = QuietServer(("127.0.0.1", 0), HubHandler, self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.cdn_url = f"http://localhost:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add_repo(
        self,
        kind: Kind,
        repo_id: str,
        files: Mapping[str, bytes | str] | None = None,
        private: bool = False,
        gated: bool = False,
    ) -> str:
        """Create a repository with these files in its first commit and return the commit's sha."""
        repo = Repo(kind, repo_id, private, gated)
        self._repos[kind, repo_id] = repo
        return repo.commit(files or {}, "initial commit")

    def add_folder(self, kind: Kind, repo_id: str, folder: Path, private: bool = False) -> str:
        """Create a repository with the files of a folder."""
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        return self.add_repo(kind, repo_id, files, private)

    def repo(self, kind: Kind, repo_id: str) -> Repo:
        """A repository that exists; KeyError otherwise."""
        return self._repos[kind, repo_id]

    def find(self, kind: str, repo_id: str) -> Repo | None:
        """A repository, or None."""
        return self._repos.get((kind, repo_id))

    def fail_next(
        self,
        status: int = 503,
        times: int = 1,
        *,
        path: str = "",
        method: str = "",
        mode: Literal["status", "cut", "lost_reply", "slow"] = "status",
        seconds: float = 0.0,
    ) -> None:
        """Let the next `times` requests whose path contains `path` (and with this method) go wrong.

        `status` answers with that code; `cut` breaks the connection in the middle of the body, the one sent for GET and
        the one received for POST and PUT; `lost_reply` does what was asked, then breaks the connection before the
        answer; `slow` waits `seconds`, then answers as usual.
        """
        self._faults.append(Fault(mode, status, times, path, method, seconds))

    def take_request(self, method: str, path: str, token: str | None) -> Fault | None:
        """Note a request and return the fault that it meets."""
        with self.lock:
            self.requests.append(Request(method, path, token))
            for fault in self._faults:
                # HEAD has no body that could be cut
                cuttable = fault.mode != "cut" or method != "HEAD"
                if fault.times > 0 and fault.path in path and fault.method in ("", method) and cuttable:
                    fault.times -= 1
                    break
            else:
                return None
        if fault.mode == "slow":
            time.sleep(fault.seconds)
        return fault

    def env(self, token: str | None = None) -> dict[str, str]:
        """Environment by which a process talks to this Hub and to nothing else."""
        env = {
            "HF_ENDPOINT": self.url,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "0",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        return env | ({"HF_TOKEN": token} if token else {})

    def use(self, monkeypatch: Any, cache: Path, token: str | None = None) -> None:
        """Point this process at this Hub: the client libraries read the environment only once, at import."""
        import datasets.config
        import huggingface_hub.constants as constants

        for name, value in self.env(token).items():
            monkeypatch.setenv(name, value)
        if token is None:
            monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(constants, "ENDPOINT", self.url)
        template = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
        monkeypatch.setattr(datasets.config, "HF_ENDPOINT", self.url)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")

    def can_write(self, token: str | None, repo_id: str) -> bool:
        """Whether a token may write to a repository."""
        access = self.tokens.get(token or "")
        owner = repo_id.split("/")[0]
        if isinstance(access, list):
            return repo_id in access or owner in access
        return access == "write" and (owner == self.user or self.orgs.get(owner) in ("write", "contributor", "admin"))

    def can_read(self, token: str | None, repo: Repo) -> bool:
        """Whether a token may see a repository."""
        owner = repo.repo_id.split("/")[0]
        return not repo.private or (token in self.tokens and (owner == self.user or owner in self.orgs))
