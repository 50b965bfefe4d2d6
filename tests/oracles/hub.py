"""A Hugging Face hub on this machine: a folder of repositories behind the hub's own addresses."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMITS = {"main": "a" * 40, "v1": "b" * 40}
"""What branches and tags point to; a repository's files lie in `ROOT/org/name/COMMIT`."""


@contextmanager
def serve(root: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the hub's address and the list of what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path).strip("/")
            asked.append(path)
            parts = path.split("/")
            if parts[:2] == ["api", "models"] and len(parts) >= 4:
                revision = parts[5] if len(parts) > 5 else "main"
                commit = COMMITS.get(revision, revision)
                self._listing("/".join(parts[2:4]), commit, "tree" in parts[4:5])
            elif len(parts) >= 5 and parts[2] == "resolve":
                self._file("/".join(parts[:2]), COMMITS.get(parts[3], parts[3]), parts[4:])
            else:
                self._send(404, b"")

        def _listing(self, name: str, commit: str, tree: bool) -> None:
            folder = root / name / commit
            if not folder.is_dir():
                error = "RevisionNotFound" if (root / name).is_dir() else "RepoNotFound"
                self._send(404, b"{}", {"X-Error-Code": error})
                return
            files = sorted(folder.iterdir())
            about = {"id": name, "sha": commit, "private": False}
            about["siblings"] = [{"rfilename": file.name} for file in files]
            entries = [
                {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "0"}
                for file in files
            ]
            self._send(200, json.dumps(entries if tree else about).encode())

        def _file(self, name: str, commit: str, parts: list[str]) -> None:
            file = root.joinpath(name, commit, *parts)
            if not file.is_file():
                self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
                return
            content = file.read_bytes()
            tag = hashlib.sha1(content).hexdigest()
            self._send(200, content, {"ETag": f'"{tag}"', "X-Repo-Commit": commit})

        def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
