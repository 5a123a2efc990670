"""What the stand-in Hub answers: its routes, with the headers and status codes of the real one."""

import base64
import hashlib
import json
import re
from typing import Any
from urllib.parse import parse_qs, quote

from support import hub_repos
from support.hub_http import HttpError, RequestHandler
from support.hub_repos import Commit, Repo

_API = r"/api/(?P<kind>model|dataset)s/(?P<repo>[^/]+/[^/]+)"
_FILES = r"/(?:(?P<kind>dataset)s/)?(?P<repo>[^/]+/[^/]+?)"


class HubHandler(RequestHandler):
    """One request to the stand-in Hub."""

    def _repo(self, kind: str | None, repo: str, write: bool = False) -> Repo:
        found: Repo | None = self.hub.find(kind or "model", repo)
        if found is None or not self.hub.can_read(self.token, found):
            raise HttpError(404 if self.token else 401, "Repository not found", "RepoNotFound")
        if write and not self.hub.can_write(self.token, repo):
            raise HttpError(403, "Forbidden: you must use a write token to upload to a repository.")
        return found

    def _commit(self, repo: Repo, revision: str) -> Commit:
        found = repo.at(revision)
        if found is None:
            raise HttpError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found

    def whoami(self) -> None:
        """Who the token belongs to and what it may do."""
        if self.token is None:
            raise HttpError(401, "Invalid username or password.")
        self._json(hub_repos.whoami(self.hub.user, self.hub.orgs, self.hub.tokens[self.token]))

    def info(self, kind: str, repo: str, rev: str | None = None) -> None:
        """Repository information at a revision."""
        found = self._repo(kind, repo)
        blobs = self.query.get("blobs", ["false"])[0].lower() in ("true", "1")
        self._json(hub_repos.repo_info(found, self._commit(found, rev or "main"), blobs))

    def tree(self, kind: str, repo: str, rev: str, folder: str | None) -> None:
        """Files and folders."""
        commit = self._commit(self._repo(kind, repo), rev)
        recursive = self.query.get("recursive", ["false"])[0].lower() in ("true", "1")
        entries = hub_repos.tree_entries(commit.files, folder or "", recursive)
        if entries is None:
            raise HttpError(404, f"{folder} does not exist", "EntryNotFound")
        self._json(entries)

    def paths_info(self, kind: str, repo: str, rev: str) -> None:
        """Information about some paths."""
        commit = self._commit(self._repo(kind, repo), rev)
        if "json" in self.headers.get("Content-Type", ""):
            paths = json.loads(self.body)["paths"]
        else:
            paths = parse_qs(self.body.decode()).get("paths", [])
        self._json(hub_repos.paths_entries(commit.files, paths))

    def refs(self, kind: str, repo: str) -> None:
        """Branches and tags."""
        found = self._repo(kind, repo)
        tags = [{"name": name, "ref": f"refs/tags/{name}", "targetCommit": sha} for name, sha in found.tags.items()]
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": found.head.sha}
        self._json({"branches": [main], "tags": tags, "converts": []})

    def auth_check(self, kind: str, repo: str, write: str | None) -> None:
        """Whether the token may read, or write."""
        self._repo(kind, repo, write=write is not None)
        self._json({})

    def create(self) -> None:
        """Create a repository."""
        asked = json.loads(self.body)
        kind, owner = asked.get("type") or "model", asked.get("organization") or self.hub.user
        repo_id = f"{owner}/{asked['name']}"
        if self.token is None:
            raise HttpError(401, "Invalid username or password.")
        if not self.hub.can_write(self.token, repo_id):
            raise HttpError(403, f'You don\'t have the rights to create a {kind} under the namespace "{owner}"')
        if self.hub.find(kind, repo_id):
            error = f"You already created this {kind} repo"
            return self._json({"error": error, "url": f"{self.hub.url}/{repo_id}"}, 409)
        private = asked.get("visibility") == "private"
        self.hub.add_repo(kind, repo_id, {".gitattributes": "*.safetensors filter=lfs\n"}, private)
        self._json({"url": f"{self.hub.url}/{repo_id}", "name": repo_id, "id": repo_id})

    def validate_yaml(self) -> None:
        """Check the front matter of a README.md: here, that it is YAML and a mapping."""
        import yaml

        content = json.loads(self.body)["content"]
        match = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        try:
            meta = yaml.safe_load(match.group(1)) if match else {}
        except yaml.YAMLError as error:
            return self._json({"errors": [{"message": str(error)}], "warnings": []}, 400)
        if not isinstance(meta, dict):
            return self._json({"errors": [{"message": "metadata must be a mapping"}], "warnings": []}, 400)
        empty = [] if meta else [{"message": "empty or missing yaml metadata in repo card"}]
        self._json({"errors": [], "warnings": empty})

    def preupload(self, kind: str, repo: str, rev: str) -> None:
        """Say how each file is to be uploaded."""
        files = self._commit(self._repo(kind, repo, write=True), rev).files
        answers = []
        for asked in json.loads(self.body)["files"]:
            path = asked["path"]
            mode = "lfs" if hub_repos.is_lfs(path, asked["size"]) else "regular"
            answer = {"path": path, "uploadMode": mode, "shouldIgnore": False}
            answers.append(answer | ({"oid": hub_repos.remote_oid(path, files[path])} if path in files else {}))
        self._json({"files": answers})

    def lfs_batch(self, kind: str | None, repo: str) -> None:
        """Say where large files are to be put."""
        self._repo(kind, repo, write=True)
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            answer: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.large_files:
                answer["actions"] = {"upload": {"href": f"{self.hub.cdn_url}/upload/{wanted['oid']}"}}
            objects.append(answer)
        self._json({"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> None:
        """Take a large file."""
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise HttpError(400, "the content does not have this sha256")
        self.hub.large_files[oid] = self.body
        self._send(b"")

    def commit(self, kind: str, repo: str, rev: str) -> None:
        """Put one commit on main."""
        found = self._repo(kind, repo, write=True)
        self._commit(found, rev)
        changes: dict[str, bytes | str | None] = {}
        message = ""
        for line in self.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            match item["key"]:
                case "header":
                    message = value["summary"]
                    if value.get("parentCommit") not in (None, found.head.sha):
                        raise HttpError(412, "A commit has happened since. Please refresh and try again.")
                case "file":
                    changes[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    if value["oid"] not in self.hub.large_files:
                        raise HttpError(422, f"LFS object {value['oid']} was not uploaded")
                    changes[value["path"]] = self.hub.large_files[value["oid"]]
                case "deletedFile":
                    changes[value["path"]] = None
                case "deletedFolder":
                    changes |= {path: None for path in found.files if path.startswith(value["path"])}
        with self.hub.lock:
            sha = found.commit(changes, message)
        self._json({"success": True, "commitOid": sha, "commitUrl": f"{self.hub.url}/{repo}/commit/{sha}"})

    def resolve(self, kind: str | None, repo: str, rev: str, path: str) -> None:
        """Download a file; a large one is served by the other host."""
        found = self._repo(kind, repo)
        commit = self._commit(found, rev)
        if found.gated and self.token not in self.hub.granted:
            raise HttpError(403 if self.token else 401, f"Access to {repo} is restricted.", "GatedRepo")
        if path not in commit.files:
            raise HttpError(404, "Entry not found", "EntryNotFound")
        content = commit.files[path]
        headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{hub_repos.git_oid(content)}"', "Accept-Ranges": "bytes"}
        if not hub_repos.is_lfs(path, len(content)):
            return self._file(content, headers)
        oid = hashlib.sha256(content).hexdigest()
        self.hub.large_files[oid] = content
        headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(len(content))}
        self._send(b"", 302, headers | {"Location": f"{self.hub.cdn_url}/cdn/{oid}?name={quote(path)}"})

    def cdn(self, oid: str) -> None:
        """Serve a large file; like the real one it must never be shown a token."""
        if self.token is not None:
            raise HttpError(400, "a token was sent to the CDN")
        self._file(self.hub.large_files[oid], {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"})

    def _file(self, content: bytes, headers: dict[str, str]) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not wanted:
            return self._send(content, 200, headers)
        first = int(wanted.group(1))
        if first >= len(content):
            return self._send(b"", 416, {"Content-Range": f"bytes */{len(content)}"})
        last = min(int(wanted.group(2) or len(content)), len(content) - 1)
        headers |= {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
        self._send(content[first : last + 1], 206, headers)

    def telemetry(self) -> None:
        """Accept what the client reports about itself."""
        self._json({})


_H = HubHandler
HubHandler.routes = [
    ("GET", "/api/whoami-v2", _H.whoami),
    ("POST", "/api/repos/create", _H.create),
    ("POST", "/api/validate-yaml", _H.validate_yaml),
    ("HEAD GET", "/api/telemetry/.*", _H.telemetry),
    ("GET", f"{_API}/revision/(?P<rev>.+)", _H.info),
    ("GET", f"{_API}/tree/(?P<rev>refs/heads/main|[^/]+)(?:/(?P<folder>.+))?", _H.tree),
    ("POST", f"{_API}/paths-info/(?P<rev>.+)", _H.paths_info),
    ("GET", f"{_API}/refs", _H.refs),
    ("GET", f"{_API}/auth-check(?P<write>/write)?", _H.auth_check),
    ("POST", f"{_API}/preupload/(?P<rev>.+)", _H.preupload),
    ("POST", f"{_API}/commit/(?P<rev>.+)", _H.commit),
    ("GET", _API, _H.info),
    ("POST", f"{_FILES}\\.git/info/lfs/objects/batch", _H.lfs_batch),
    ("PUT", "/upload/(?P<oid>[0-9a-f]+)", _H.upload),
    ("GET HEAD", "/cdn/(?P<oid>[0-9a-f]+)", _H.cdn),
    ("GET HEAD", f"{_FILES}/resolve/(?P<rev>refs/heads/main|[^/]+)/(?P<path>.+)", _H.resolve),
]
