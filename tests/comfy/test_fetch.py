"""Weights are fetched whole and right, or not at all: against a small server on this machine."""

import hashlib
import os
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import requests
import torch

import mild  # noqa: F401
from mild.tests.helpers.in_process import GraphInvalid

# isort: split
import comfy.model_management
import folder_paths

from mild.mild_core.comfy.find import fetch as fetching
from mild.mild_core.comfy.find import find_people, parse_people, weight_files
from mild.mild_core.find import weight_sources
from mild.mild_core.find.weight_sources import WeightFile

CONTENT = bytes(range(256)) * 6000  # several pieces
NAME = weight_sources.MOVENET.file.name


class Answers(BaseHTTPRequestHandler):
    """What the first word of a path asks for; `server.asked` counts the paths, `server.ranges` keeps Range headers."""

    def log_message(self, *args):
        pass

    def do_GET(self):
        kind = self.path.strip("/")
        self.server.asked[kind] += 1
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and kind != "deaf" else 0
        self.server.ranges.append(wanted)
        if kind == "missing":
            return self.send_error(404)
        if kind == "moved":
            self.send_response(302)
            self.send_header("Location", "/whole")
            return self.end_headers()
        body = {"wrong": CONTENT[::-1], "long": CONTENT * 3}.get(kind, CONTENT)[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        breaks = kind in ("cut", "deaf") or (kind == "breaks" and not start)
        try:
            self.wfile.write(body[: len(body) // 2] if breaks or kind == "silent" else body)
            self.wfile.flush()
            if kind == "silent":
                self.server.released.wait(60)
        except OSError:
            pass  # the client has had enough
        self.close_connection = True


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.asked, server.ranges, server.released = Counter(), [], threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def file(server, monkeypatch):
    """file(*kinds): the record of a file that the server sends in these ways, one address after the other."""
    monkeypatch.setattr(fetching, "PAUSE", 0)
    monkeypatch.setattr(fetching, "REPORT", 0.02)
    base = f"http://127.0.0.1:{server.server_address[1]}"

    def file(*kinds):
        addresses = tuple(f"{base}/{kind}" for kind in kinds)
        total = hashlib.sha256(CONTENT).hexdigest()
        return WeightFile(NAME, len(CONTENT), total, "Apache-2.0", "nobody", "https://example.org", addresses)

    return file


def unnoticed(arrived):
    pass


def left(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["whole", "moved"])
def test_a_file_arrives_whole(file, tmp_path, kind):
    arrived = []
    path = fetching.fetch(file(kind), tmp_path / "models" / "detection", arrived.append)
    assert path == tmp_path / "models" / "detection" / NAME and path.read_bytes() == CONTENT
    assert left(path.parent) == [NAME] and arrived == sorted(arrived) and set(arrived) <= {*range(len(CONTENT) + 1)}


def test_what_breaks_off_is_taken_up_where_it_broke(file, server, tmp_path):
    path = fetching.fetch(file("breaks"), tmp_path, unnoticed)
    assert path.read_bytes() == CONTENT and left(tmp_path) == [NAME]
    first, second = server.ranges
    assert first is None and 0 < int(second.removeprefix("bytes=").rstrip("-")) <= len(CONTENT) // 2


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("cut", "broke off after"),
        ("deaf", "broke off after"),  # a server that cannot begin in the middle
        ("wrong", f"sent another file .sha256 {hashlib.sha256(CONTENT[::-1]).hexdigest()}, not "),
        ("long", f"sent more than the {len(CONTENT)} bytes"),
        ("missing", "answered 404"),
    ],
)
def test_what_is_not_the_file_is_not_kept(file, server, tmp_path, kind, says):
    with pytest.raises(ValueError, match=f"^{NAME} could not be fetched: 127.0.0.1 {says}.*example.org") as raised:
        fetching.fetch(file(kind), tmp_path, unnoticed)
    assert left(tmp_path) == [] and str(raised.value).count("\n") == 0
    assert server.asked[kind] == (fetching.ATTEMPTS if kind in ("cut", "deaf") else 1)


def test_the_next_address_is_tried(file, server, tmp_path):
    path = fetching.fetch(file("missing", "wrong", "cut", "whole"), tmp_path, unnoticed)
    assert path.read_bytes() == CONTENT and left(tmp_path) == [NAME]
    assert [server.asked[kind] for kind in ("missing", "wrong", "whole")] == [1, 1, 1]


def test_without_a_network(file, server, tmp_path):
    record = file("whole")
    server.shutdown()
    server.server_close()
    with pytest.raises(ValueError, match="cannot be reached .is this computer offline.*example.org"):
        fetching.fetch(record, tmp_path, unnoticed)
    assert left(tmp_path) == []


def test_a_folder_that_takes_nothing_is_named(file, server, tmp_path, monkeypatch):
    """No folder can be made below a file, whoever runs this."""
    (tmp_path / "a file").write_bytes(b"")
    folder = tmp_path / "a file" / "detection"
    with pytest.raises(ValueError, match=f"^{NAME} cannot be written into the folder .*a file.*detection"):
        fetching.fetch(file("whole"), folder, unnoticed)
    usage = SimpleNamespace(free=len(CONTENT) - 1)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ValueError, match=r"cannot be written into the folder .*it needs 2 MB, and 2 MB are free"):
        fetching.fetch(file("whole"), tmp_path / "full", unnoticed)
    assert left(tmp_path / "full") == [] and not server.asked


def test_a_disk_that_fills_while_it_is_written(file, tmp_path, monkeypatch):
    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def write(self, piece):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetching._Transfer, "_opened", lambda self: Full())
    with pytest.raises(ValueError, match="cannot be written into the folder .*no space left"):
        fetching.fetch(file("whole"), tmp_path, unnoticed)
    assert left(tmp_path) == []


def test_cancel_does_not_wait_for_a_silent_server(file, server, tmp_path):
    def cancel(arrived):
        if arrived:
            raise comfy.model_management.InterruptProcessingException

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        fetching.fetch(file("silent"), tmp_path, cancel)
    assert not server.released.is_set() and NAME not in left(tmp_path)
    server.released.set()
    for thread in threading.enumerate():
        if thread.name == f"fetch {NAME}":
            thread.join()
    assert left(tmp_path) == []


def test_two_runs_at_once_do_each_other_no_harm(file, server, tmp_path):
    record = file("whole")
    paths = []
    runs = [threading.Thread(target=lambda: paths.append(fetching.fetch(record, tmp_path, unnoticed))) for _ in "ab"]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert paths == [tmp_path / NAME] * 2 and left(tmp_path) == [NAME] and paths[0].read_bytes() == CONTENT


def test_a_failed_run_leaves_what_another_one_fetched(file, tmp_path):
    (tmp_path / NAME).write_bytes(CONTENT)
    with pytest.raises(ValueError, match="sent another file"):
        fetching.fetch(file("wrong"), tmp_path, unnoticed)
    assert left(tmp_path) == [NAME] and (tmp_path / NAME).read_bytes() == CONTENT


def test_what_a_killed_run_left_is_removed(file, tmp_path):
    old, young, others = f"{NAME}.0.part", f"{NAME}.1.part", "other.tflite.0.part"
    for name in (old, young, others):
        (tmp_path / name).write_bytes(b"half")
    for name in (old, others):
        os.utime(tmp_path / name, (0, 0))
    fetching.fetch(file("whole"), tmp_path, unnoticed)
    assert left(tmp_path) == sorted([NAME, young, others])  # the young one may belong to a run that goes on


def test_a_part_that_vanishes_while_it_is_looked_at_harms_nobody(file, tmp_path, monkeypatch):
    """Another run may rename or remove its part between the listing of the folder and the look at its age."""
    gone = f"{NAME}.1.part"
    (tmp_path / gone).write_bytes(b"half")
    look = type(tmp_path).stat

    def stat(self, **kwargs):
        if self.name == gone:
            self.unlink(missing_ok=True)
        return look(self, **kwargs)

    monkeypatch.setattr(type(tmp_path), "stat", stat)
    assert fetching.fetch(file("whole"), tmp_path, unnoticed) == tmp_path / NAME and left(tmp_path) == [NAME]


def test_encryption_is_never_given_up(file, tmp_path, monkeypatch):
    """A secure address that leads to one without encryption is refused before a byte is read."""

    class Answer(requests.Response):
        def close(self):
            pass

        def iter_content(self, *args, **kwargs):
            raise AssertionError("nothing may be read")

    answer = Answer()
    answer.status_code, answer.url, answer.history = 200, "http://example.org/x", []
    monkeypatch.setattr(fetching.requests, "get", lambda *args, **kwargs: answer)
    record = file()._replace(addresses=("https://example.org/x",))
    with pytest.raises(ValueError, match="without encryption"):
        fetching.fetch(record, tmp_path, unnoticed)
    assert left(tmp_path) == []


# ---- through the nodes


@pytest.fixture
def models(tmp_path, monkeypatch):
    """An artist's model folder without weights, and nothing else of this machine."""
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    for key in (*weight_files.FOLDERS, weight_files.KEY):
        monkeypatch.setitem(folder_paths.folder_names_and_paths, key, ([], set()))
    folder = tmp_path / "models" / "detection"
    folder.mkdir(parents=True)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "detection", ([str(folder)], {".pt"}))
    return folder


@pytest.fixture
def find(comfy, file, models, monkeypatch):
    """find(kind, name, on): a graph of Find People with MoveNet, whose file the server sends in this way; the package
    is a stand-in that reads the file.
    """

    def finder(path, threshold):
        assert path.read_bytes() == CONTENT
        return lambda photo: []

    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", SimpleNamespace())
    monkeypatch.setattr(find_people.movenet, "finder", finder)
    image = {"class_type": "TEST_Give", "inputs": {"key": comfy.give(torch.rand(1, 64, 64, 3))}}

    def find(kind, name, on, **settings):
        record = file(kind)
        monkeypatch.setattr(weight_sources, "MOVENET", weight_sources.MOVENET._replace(file=record))
        chosen = {"detector": find_people.MOVENET, "detector.model": name, "masks": find_people.AS_FOUND}
        numbers = {"detector.threshold": 0.1, "detector.closer": 1, "max_people": 100, "min_size": 0.0, "overlap": 0.8}
        inputs = chosen | numbers | {"labels": "person", "image": ["image", 0], "fetch_when_missing": on} | settings
        return {"image": image, "find": {"class_type": "MILD_FindPeople", "inputs": inputs}}

    return find


def test_the_node_fetches_once_and_works_offline_ever_after(comfy, find, models, server):
    ran = comfy.run_graph(find("whole", weight_files.ABSENT, True), wanted=["find"])
    text = ran.ui["find"]["text"][0]
    assert f"Fetched, sum checked: {NAME}, 1.5 MB, Apache-2.0" in text and f"MoveNet ({NAME})" in text
    assert left(models) == [NAME] and server.asked["whole"] == 1
    assert any(one.maximum == len(CONTENT) and one.value == len(CONTENT) for one in ran.progress)
    server.shutdown()
    server.server_close()
    # What was saved before the file came goes on running, and so does the file's own name; fetching or not.
    for name in (weight_files.ABSENT, NAME):
        for on in (True, False):
            again = comfy.run_graph(find("whole", name, on, **{"detector.threshold": 0.2}), wanted=["find"])
            assert "Fetched" not in again.ui["find"]["text"][0]
    assert server.asked["whole"] == 1


def test_the_files_own_name_can_be_chosen_before_it_is_there(comfy, find, models):
    with pytest.raises(ValueError, match=f"MoveNet: put .*fetch_when_missing.*nothing is downloaded unasked.*{NAME}"):
        comfy.run_graph(find("whole", NAME, False), wanted=["find"])
    assert left(models) == []
    comfy.run_graph(find("whole", NAME, True), wanted=["find"])
    assert left(models) == [NAME]
    with pytest.raises(GraphInvalid):
        comfy.run_graph(find("whole", "../other.tflite", True), wanted=["find"])


def test_a_chosen_file_that_vanished_is_replaced_by_the_known_one(find, file, models):
    find("whole", NAME, True)
    weights = weight_files.Weights(True)
    assert weights.path_of("mine.tflite", "MoveNet", weight_sources.MOVENET) == models / NAME
    assert "Fetched in place of mine.tflite" in weights.said[0]
    weights = weight_files.Weights(True)
    assert weights.path_of("../mine.tflite", "MoveNet", weight_sources.MOVENET) == models / NAME
    assert weights.said == [f"../mine.tflite is not there: {NAME} is used."]


def test_a_wrong_file_is_one_sentence_of_the_node(comfy, find, models):
    with pytest.raises(ValueError, match=f"^MoveNet: {NAME} could not be fetched: .* sent another file"):
        comfy.run_graph(find("wrong", weight_files.ABSENT, True), wanted=["find"])
    assert left(models) == []


def test_the_node_can_be_cancelled_while_it_fetches(comfy, find, models, server):
    with pytest.raises(comfy_interrupt()):
        comfy.run_graph(find("silent", weight_files.ABSENT, True), wanted=["find"], interrupt_at=1)
    assert NAME not in left(models)


def comfy_interrupt():
    return comfy.model_management.InterruptProcessingException


def test_packages_are_asked_for_before_anything_is_fetched(comfy, find, models, server, monkeypatch):
    for name in ("ai_edge_litert", "ai_edge_litert.interpreter"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match="pip install ai-edge-litert"):
        comfy.run_graph(find("whole", weight_files.ABSENT, True), wanted=["find"])
    assert left(models) == [] and not server.asked


@pytest.mark.parametrize("choice", [weight_sources.YOLOX, weight_sources.BODYPIX])
def test_what_has_no_known_address_is_not_fetched(models, choice):
    with pytest.raises(ValueError, match=f"{choice.file.name} is not fetched.*{choice.file.page}"):
        weight_files.Weights(True).path_of(weight_files.ABSENT, "x", choice)
    assert weight_files.files(choice) == [weight_files.ABSENT]


def test_read_bodies_fetches_its_parser(comfy, file, models, monkeypatch):
    record = file("whole")._replace(name="selfie_multiclass_256x256.tflite")
    monkeypatch.setattr(weight_sources, "MULTICLASS", weight_sources.MULTICLASS._replace(file=record))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", SimpleNamespace())
    seen = []
    monkeypatch.setattr(parse_people.mediapipe_multiclass, "parser", lambda path: seen.append(path.read_bytes()))
    given = {"image": torch.rand(1, 64, 64, 3), "people": []}
    graph = {name: {"class_type": "TEST_Give", "inputs": {"key": comfy.give(value)}} for name, value in given.items()}
    settings = {"parser": parse_people.MEDIAPIPE, "parser.model": weight_files.ABSENT, "fetch_when_missing": True}
    plain = {"labels": "ATR", "invert_depth": False, "min_confidence": 0.3}
    graph["read"] = {"class_type": "MILD_Morphology", "inputs": settings | plain | {name: [name, 0] for name in given}}
    ran = comfy.run_graph(graph, wanted=["read"])
    assert seen == [CONTENT] and f"Fetched, sum checked: {record.name}" in ran.ui["read"]["text"][0]
    # It is no file of MoveNet's, though its name ends as theirs does.
    assert weight_files.present(weight_sources.MOVENET) == []


def test_what_is_there_and_where_the_rest_comes_from(comfy, models, monkeypatch):
    (models / "mine.task").write_bytes(b"")
    box = {"x": 10.0, "y": 10.0, "width": 20.0, "height": 40.0}
    image = {"class_type": "TEST_Give", "inputs": {"key": comfy.give(torch.rand(1, 64, 64, 3))}}
    inputs = {"detector": find_people.CONNECTED, "masks": find_people.AS_FOUND, "labels": "person"}
    inputs |= {"max_people": 100, "min_size": 0.0, "overlap": 0.8, "image": ["image", 0], "boxes": ["boxes", 0]}
    boxes = {"class_type": "TEST_Give", "inputs": {"key": comfy.give([[]])}}
    graph = {"image": image, "boxes": boxes, "find": {"class_type": "MILD_FindPeople", "inputs": inputs}}
    lines = comfy.run_graph(graph, wanted=["find"]).ui["find"]["text"][0].splitlines()
    lines = lines[lines.index("On this machine: MediaPipe (mine.task).") :]
    labels = [line.split(": ")[1] for line in lines[1:]]
    rest = [one for one in (*weight_sources.FINDERS, *weight_sources.SEGMENTERS) if one.label != "MediaPipe"]
    assert labels == [label for label, _, _ in weight_sources.CORE] + [one.label for one in rest]
    files = [file for _, _, file in weight_sources.CORE] + [one.file for one in rest]
    for line, record in zip(lines[1:], files, strict=True):
        facts = (record.name, record.licence, record.page, f"models/{record.folder}", record.sha256)
        assert all(fact in line for fact in facts) and (f"{record.size / 1e6:,.1f} MB" in line or not record.size)
    # Where somebody was found, the list is short.
    graph["boxes"] = {"class_type": "TEST_Give", "inputs": {"key": comfy.give([[box]])}}
    lines = comfy.run_graph(graph, wanted=["find"]).ui["find"]["text"][0].splitlines()
    assert lines[0] == "1 person" and lines[-2] == "On this machine: MediaPipe (mine.task)."
    assert lines[-1].startswith(f"Not here: {'; '.join(labels)}. The help page")
