"""A stand-in for the Hugging Face Hub: a real HTTP server that speaks the part of its interface that the library uses.

It keeps repositories in memory: commits, small files as git blobs, large ones as LFS objects by SHA-256, in one part or in
several. It knows tokens, private repositories and the hub's error codes. Xet storage, which takes the place of LFS where
both sides have it, is a protocol of its own that only the hub speaks: with the stand-in, HF_HUB_DISABLE_XET is set.
"""

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

WRITER, READER, STRANGER = "hf_" + "writer" * 3, "hf_" + "reader" * 3, "hf_" + "stranger" * 3
PART = 1 << 16
"""Bytes of a part of an upload, where the stand-in asks for parts."""


@dataclass
class Repository:
    """One repository: who owns it, what each commit holds."""

    private: bool
    commits: list[tuple[str, str, dict[str, bytes]]] = field(default_factory=list)
    large: set[str] = field(default_factory=set)

    def files(self, revision: str) -> dict[str, bytes] | None:
        if revision in ("main", "HEAD"):
            return self.commits[-1][2]
        return next((files for sha, _, files in self.commits if sha.startswith(revision)), None)

    def commit(self, message: str, files: dict[str, bytes]) -> str:
        sha = hashlib.sha1(f"{len(self.commits)}{message}{sorted(files)}".encode()).hexdigest()
        self.commits.append((sha, message, files))
        return sha

    def sha(self, revision: str) -> str:
        return next(sha for sha, _, files in reversed(self.commits) if files is self.files(revision))


@dataclass
class Fault:
    """What the stand-in does instead of answering: a status, with headers; or nothing for some seconds."""

    method: str
    path: str
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    times: int = 1


class HubStandIn:
    """The server; ``repositories`` and ``requests`` are there to be looked at."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str] = set()
        self.faults: list[Fault] = []
        self.large_from = 4000
        """Bytes from which on a file is an LFS object."""
        self.in_parts = False
        self.meanwhile: Callable[[], object] = lambda: None
        """Called before a commit is made, as somebody else who commits at the same time."""
        stand_in = self

        class Handler(_Handler):
            hub = stand_in

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.storage_url = f"http://localhost:{self.server.server_port}"
        """Another host, as with the hub: to its own, the library would follow a redirect when it asks for metadata."""

    def put(self, name: str, kind: str = "dataset", *, private: bool = False, **files: bytes) -> Repository:
        """Make a repository as somebody else has made it."""
        made = self.repositories[kind, name] = Repository(private)
        made.commit(
            "initial commit", {".gitattributes": b"", **{key.replace("__", "/"): data for key, data in files.items()}}
        )
        return made

    def sent(self, *methods: str) -> list[str]:
        """Return the paths that were asked with one of these methods."""
        return [path for method, path in self.requests if method in methods]


@contextmanager
def hub_stand_in() -> Iterator[HubStandIn]:
    """Run a stand-in in a thread."""
    hub = HubStandIn()
    thread = threading.Thread(target=hub.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()


class _RefusedError(Exception):
    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


class _Handler(BaseHTTPRequestHandler):
    hub: HubStandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        pass

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        self.where, self.query = unquote(parts.path), parse_qs(parts.query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = b"".join(self._chunks())
        self.hub.requests.append((self.command, self.where))
        self.hub.tokens.add((self.headers.get("Authorization") or "").removeprefix("Bearer "))
        for fault in self.hub.faults:
            if fault.times and fault.method == self.command and re.search(fault.path, self.where):
                fault.times -= 1
                time.sleep(fault.seconds)
                if not fault.status:
                    self.close_connection = True
                    return
                self._send(fault.status, json.dumps({"error": "as asked"}).encode(), fault.headers)
                return
        try:
            for pattern, method in _ROUTES:
                found = re.fullmatch(pattern, self.where)
                if found:
                    getattr(self, method)(
                        **{name: value for name, value in found.groupdict().items() if value is not None}
                    )
                    return
            raise _RefusedError(404, f"{self.command} {self.where} is not spoken here", "EntryNotFound")
        except _RefusedError as refused:
            headers = {"X-Error-Message": str(refused)} | ({"X-Error-Code": refused.code} if refused.code else {})
            self._send(refused.status, json.dumps({"error": str(refused)}).encode(), headers)

    do_GET = do_HEAD = do_POST = do_PUT = _answer  # noqa: N815  (the names that http.server asks for)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _send(self, status: int, data: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (
            {"Content-Length": str(len(data)), "Content-Type": "application/json"} | (headers or {})
        ).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode())

    def _token(self, *, writes: bool) -> str:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token and token not in (WRITER, READER):
            raise _RefusedError(401, "Invalid credentials in Authorization header")
        if writes and not token:
            raise _RefusedError(401, "Invalid username or password.")
        if writes and token != WRITER:
            raise _RefusedError(403, "you must use a write token to write to a repository")
        return token

    def _repository(self, kind: str, repo: str, *, writes: bool = False) -> Repository:
        token = self._token(writes=writes)
        found = self.hub.repositories.get((kind, repo))
        if found is None or (found.private and not token):
            raise _RefusedError(404 if token else 401, "Repository not found", "RepoNotFound")
        return found

    def create(self) -> None:
        asked = json.loads(self.body)
        self._token(writes=True)
        name = f"{asked.get('organization') or 'writer'}/{asked['name']}"
        kind = asked.get("type", "model")
        if not name.startswith("writer/"):
            raise _RefusedError(
                403, f"You don't have the rights to create a {kind} under the namespace {name.partition('/')[0]}"
            )
        if (kind, name) in self.hub.repositories:
            raise _RefusedError(409, "You already created this repo")
        private = asked.get("visibility", "public") == "private" or asked.get("private") is True
        self.hub.put(name, kind, private=private)
        self._json({"url": f"{self.hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}", "name": name})

    def info(self, kind: str, repo: str, revision: str = "main") -> None:
        found = self._repository(kind, repo)
        files = found.files(revision)
        if files is None:
            raise _RefusedError(404, "Invalid rev id", "RevisionNotFound")
        siblings = [{"rfilename": name, **self._entry(found, data)} for name, data in files.items()]
        about = {"id": repo, "_id": repo, "sha": found.sha(revision), "private": found.private, "siblings": siblings}
        self._json(about | {"tags": [], "downloads": 0, "likes": 0})

    def _entry(self, found: Repository, data: bytes) -> dict[str, Any]:
        entry: dict[str, Any] = {"size": len(data), "blobId": _git_hash(data), "oid": _git_hash(data)}
        digest = hashlib.sha256(data).hexdigest()
        if digest in found.large:
            entry["lfs"] = {"sha256": digest, "oid": digest, "size": len(data), "pointerSize": 130}
        return entry

    def tree(self, kind: str, repo: str, revision: str, under: str = "") -> None:
        found = self._repository(kind, repo)
        files = found.files(revision)
        if files is None:
            raise _RefusedError(404, "Invalid rev id", "RevisionNotFound")
        inside = {name: data for name, data in files.items() if not under or name.startswith(f"{under}/")}
        if not inside:
            raise _RefusedError(404, f"{under} does not exist", "EntryNotFound")
        recursive = self.query.get("recursive", [""])[0].lower() in ("true", "1")
        listed: dict[str, dict[str, Any]] = {}
        for name, data in inside.items():
            folder, slash, _ = name.removeprefix(f"{under}/" if under else "").partition("/")
            if slash and not recursive:
                path = f"{under}/{folder}" if under else folder
                listed[path] = {"type": "directory", "path": path, "oid": _git_hash(path.encode()), "size": 0}
            else:
                listed[name] = {"type": "file", "path": name, **self._entry(found, data)}
        self._json(list(listed.values()))

    def paths_info(self, kind: str, repo: str, revision: str) -> None:
        found = self._repository(kind, repo)
        files = found.files(revision)
        if files is None:
            raise _RefusedError(404, "Invalid rev id", "RevisionNotFound")
        try:
            asked = json.loads(self.body)["paths"]
        except ValueError:
            asked = parse_qs(self.body.decode()).get("paths", [])
        listed = []
        for path in asked:
            if path in files:
                listed.append({"type": "file", "path": path, **self._entry(found, files[path])})
            elif any(name.startswith(f"{path}/") for name in files):
                listed.append({"type": "directory", "path": path, "oid": _git_hash(path.encode()), "size": 0})
        self._json(listed)

    def validate_yaml(self) -> None:
        header = json.loads(self.body)["content"].split("---")[1]
        try:
            assert isinstance(yaml.safe_load(header), dict)
        except (yaml.YAMLError, AssertionError):
            self._json({"errors": [{"message": "no valid YAML"}], "warnings": []}, 400)
            return
        self._json({"errors": [], "warnings": []})

    def preupload(self, kind: str, repo: str, revision: str) -> None:
        found = self._repository(kind, repo, writes=True)
        files, answers = found.files(revision) or {}, []
        for asked in json.loads(self.body)["files"]:
            mode = "lfs" if asked["size"] >= self.hub.large_from or asked["path"].endswith(".parquet") else "regular"
            answer = {"path": asked["path"], "uploadMode": mode, "shouldIgnore": False}
            if asked["path"] in files:
                entry = self._entry(found, files[asked["path"]])
                answer["oid"] = entry["lfs"]["sha256"] if "lfs" in entry else entry["oid"]
            answers.append(answer)
        self._json({"files": answers})

    def batch(self, repo: str, kind: str = "model") -> None:
        self._repository("dataset" if kind == "datasets/" else "model", repo, writes=True)
        objects = []
        for asked in json.loads(self.body)["objects"]:
            oid, size = asked["oid"], asked["size"]
            if oid not in self.hub.objects:
                upload: dict[str, Any] = {"href": f"{self.hub.url}/storage/{oid}"}
                if self.hub.in_parts:
                    pieces = range(1, -(-size // PART) + 1)
                    upload["header"] = {str(part): f"{self.hub.url}/storage/{oid}/{part}" for part in pieces}
                    upload["header"]["chunk_size"] = str(PART)
                asked["actions"] = {"upload": upload, "verify": {"href": f"{self.hub.url}/verify"}}
            objects.append(asked)
        self._json({"transfer": "multipart" if self.hub.in_parts else "basic", "objects": objects})

    def _store(self, oid: str, part: str) -> None:
        if self.command == "POST":
            self.body = b"".join(data for _, data in sorted(self.hub.parts.pop(oid).items()))
        if part:
            self.hub.parts.setdefault(oid, {})[int(part)] = self.body
        elif hashlib.sha256(self.body).hexdigest() != oid:
            raise _RefusedError(400, "the digest is another one")
        else:
            self.hub.objects[oid] = self.body
        self._send(200, b"{}", {"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'})

    def storage(self, oid: str, part: str = "") -> None:
        if self.command in ("GET", "HEAD"):
            self._content(self.hub.objects[oid], {"ETag": f'"{oid}"'})
        else:
            self._store(oid, part)

    def verify(self) -> None:
        asked = json.loads(self.body)
        if len(self.hub.objects.get(asked["oid"], b"")) != asked["size"]:
            raise _RefusedError(404, "not here")
        self._json({})

    def commit(self, kind: str, repo: str, revision: str) -> None:
        found = self._repository(kind, repo, writes=True)
        self.hub.meanwhile()
        header, *lines = [json.loads(line) for line in self.body.splitlines()]
        if header["value"].get("parentCommit", found.sha("main")) != found.sha("main"):
            raise _RefusedError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(found.files(revision) or {})
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
                found.large.add(value["oid"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            else:
                raise _RefusedError(400, f"{line['key']} is not spoken here")
        sha = found.commit(header["value"]["summary"], files)
        self._json({"commitUrl": f"{self.hub.url}/{repo}/commit/{sha}", "commitOid": sha, "hookOutput": ""})

    def resolve(self, repo: str, revision: str, path: str, kind: str = "model") -> None:
        found = self._repository("dataset" if kind == "datasets/" else "model", repo)
        files = found.files(revision)
        if files is None:
            raise _RefusedError(404, "Invalid rev id", "RevisionNotFound")
        headers = {"X-Repo-Commit": found.sha(revision)}
        if path not in files:
            self._send(404, b"", headers | {"X-Error-Code": "EntryNotFound"})
            return
        data = files[path]
        digest = hashlib.sha256(data).hexdigest()
        if digest in found.large:
            linked = {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(data))}
            self._send(302, b"", headers | linked | {"Location": f"{self.hub.storage_url}/storage/{digest}"})
        else:
            self._content(data, headers | {"ETag": f'"{_git_hash(data)}"'})

    def _content(self, data: bytes, headers: dict[str, str]) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        headers |= {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        if asked is None:
            self._send(200, data, headers)
            return
        start, end = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
        span = f"bytes {start}-{end}/{len(data)}"
        self._send(206, data[start : end + 1], headers | {"Content-Range": span})


_API = r"/api/(?P<kind>dataset|model)s/(?P<repo>[^/]+/[^/]+)"
_FILES = r"/(?P<kind>datasets/)?(?P<repo>[^/]+/[^/]+)"
_ROUTES = [
    (r"/api/repos/create", "create"),
    (r"/api/validate-yaml", "validate_yaml"),
    (_API + r"(?:/revision/(?P<revision>[^/]+))?", "info"),
    (_API + r"/tree/(?P<revision>[^/]+)(?:/(?P<under>.+))?", "tree"),
    (_API + r"/paths-info/(?P<revision>[^/]+)", "paths_info"),
    (_API + r"/preupload/(?P<revision>[^/]+)", "preupload"),
    (_API + r"/commit/(?P<revision>[^/]+)", "commit"),
    (_FILES + r"\.git/info/lfs/objects/batch", "batch"),
    (_FILES + r"/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
    (r"/storage/(?P<oid>[0-9a-f]{64})(?:/(?P<part>\d+))?", "storage"),
    (r"/verify", "verify"),
]


def _git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
