"""Downloads a file of weights: into a partial file beside it, which gets its name only when its sum is right."""

import hashlib
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import requests

from ...find.weight_sources import MEGABYTE, WeightFile

CONNECT, SILENCE = 10, 30
"""Seconds that a server may take to answer at all, and between two pieces of the file."""

ATTEMPTS = 3
"""How often a download that breaks off is taken up again at one address."""

PAUSE = 0.5
"""Seconds before it is taken up again."""

PIECE = 1 << 18
"""Bytes that are written at a time."""

REPORT = 0.25
"""Seconds between two reports: as long as Cancel takes at most, however slow the server is."""

STALE = 24 * 3600
"""Seconds after which a partial file is taken for what a killed ComfyUI left."""


class Unfetched(Exception):
    """An address did not send the file; the message says why, as the end of a sentence."""


class Unwritable(Exception):
    """The folder does not take the file; the message says why."""


def fetch(file: WeightFile, folder: Path, report: Callable[[int], None]) -> Path:
    """The file's path in `folder`, once it lies there whole and its sha256 is right.

    report is called with the bytes that have arrived, every REPORT seconds and in the caller's thread; what it raises
    (Cancel) ends the download. Raises ValueError, in one sentence, where the file cannot be had or written. Whatever
    happens, nothing else ever stands under the file's name, and no part of it is left.
    """
    transfer = _Transfer(file, folder)
    worker = threading.Thread(target=transfer.run, name=f"fetch {file.name}", daemon=True)
    worker.start()
    try:
        while worker.is_alive():
            worker.join(REPORT)
            report(transfer.arrived)
    finally:
        # A server that is silent may hold the thread for a while: it removes its part when it wakes.
        transfer.stopped.set()
        worker.join(REPORT)
    if transfer.error is not None:
        raise ValueError(_sentence(file, folder, transfer.error)) from transfer.error
    return folder / file.name


def _sentence(file: WeightFile, folder: Path, error: BaseException) -> str:
    if isinstance(error, Unwritable):
        return f"{file.name} cannot be written into the folder {folder}: {error}."
    if isinstance(error, Unfetched):
        return f"{file.name} could not be fetched: {error}; nothing was kept: get it from {file.page}, into {folder}."
    return f"{file.name} could not be fetched ({type(error).__name__}: {error}): get it from {file.page}."


class _Transfer:
    """One download, in a thread of its own, so that Cancel need not wait for a server."""

    def __init__(self, file: WeightFile, folder: Path):
        self.file, self.folder = file, folder
        self.digest, self.arrived = hashlib.sha256(), 0
        self.stopped = threading.Event()
        self.error: BaseException | None = None
        # A name of its own for each run: two that fetch the same file never write into one another's.
        self.part = folder / f"{file.name}.{secrets.token_hex(4)}.part"

    def run(self) -> None:
        try:
            self._make_room()
            self._from_any_address()
        except BaseException as error:
            self.error = error
        finally:
            _removed(self.part)

    def _make_room(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for old in self.folder.glob(f"{self.file.name}.*.part"):
                if _age(old) > STALE:
                    _removed(old)
            self.part.open("xb").close()
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise Unwritable(_reason(error)) from error
        if free < self.file.size:
            raise Unwritable(f"it needs {self.file.size / MEGABYTE:.0f} MB, and {free / MEGABYTE:.0f} MB are free")

    def _from_any_address(self) -> None:
        reasons = []
        for address in self.file.addresses:
            try:
                self._from(address)
            except Unfetched as error:
                reasons.append(f"{urlsplit(address).hostname} {error}")
                continue
            if not self.stopped.is_set():
                self._name()
            return
        raise Unfetched("; ".join(reasons))

    def _from(self, address: str) -> None:
        """Fill the part from this address, taking it up again where it breaks off."""
        self.digest, self.arrived = hashlib.sha256(), 0
        for _ in range(ATTEMPTS):
            if self.stopped.is_set():
                return
            try:
                self._pieces(address)
            except requests.RequestException as error:
                if self.arrived == 0:
                    raise Unfetched(_trouble(error)) from error
            if self.stopped.is_set():
                return
            if self.arrived == self.file.size:
                break
            self.stopped.wait(PAUSE)
        else:
            raise Unfetched(f"broke off after {self.arrived} of {self.file.size} bytes")
        if self.digest.hexdigest() != self.file.sha256:
            raise Unfetched(f"sent another file (sha256 {self.digest.hexdigest()}, not {self.file.sha256})")

    def _pieces(self, address: str) -> None:
        """Write what this request brings behind what is there; from the start, if the server cannot do that."""
        # The bytes as they are: a compressed transfer could not be taken up in the middle.
        headers = {"Accept-Encoding": "identity"}
        if self.arrived:
            headers["Range"] = f"bytes={self.arrived}-"
        with requests.get(address, headers=headers, stream=True, timeout=(CONNECT, SILENCE)) as answer:
            _checked(address, answer)
            if not (self.arrived and answer.headers.get("Content-Range", "").startswith(f"bytes {self.arrived}-")):
                self.digest, self.arrived = hashlib.sha256(), 0
            with self._opened() as part:
                for piece in answer.iter_content(PIECE):
                    if self.stopped.is_set():
                        break
                    if self.arrived + len(piece) > self.file.size:
                        raise Unfetched(f"sent more than the {self.file.size} bytes of this file")
                    try:
                        part.write(piece)
                    except OSError as error:
                        raise Unwritable(_reason(error)) from error
                    self.digest.update(piece)
                    self.arrived += len(piece)

    def _opened(self) -> IO[bytes]:
        try:
            part = self.part.open("r+b")
            part.truncate(self.arrived)
            part.seek(self.arrived)
        except OSError as error:
            raise Unwritable(_reason(error)) from error
        return part

    def _name(self) -> None:
        target = self.folder / self.file.name
        try:
            os.replace(self.part, target)
        except OSError as error:
            # Windows does not replace a file that is in use: another run was faster, and its sum was right too.
            if not target.is_file():
                raise Unwritable(_reason(error)) from error


def _checked(address: str, answer: requests.Response) -> None:
    """Raises Unfetched for an answer that is no file, or came over a connection that anyone could change."""
    hops = [urlsplit(one.url).scheme for one in (*answer.history, answer)]
    if urlsplit(address).scheme == "https" and any(hop != "https" for hop in hops):
        raise Unfetched("sent us to an address without encryption")
    if answer.status_code not in (200, 206):
        raise Unfetched(f"answered {answer.status_code}")


def _trouble(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "did not answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "has no certificate that this computer trusts"
    if isinstance(error, requests.ConnectionError):
        return "cannot be reached (is this computer offline?)"
    return f"broke off ({type(error).__name__})"


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def _age(path: Path) -> float:
    """Seconds since the file was last written; 0 where another run has just renamed or removed its own part."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _removed(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # Nobody can use it: it lacks the file's name. A later fetch removes it.
        pass
