"""Scan folders with drawn images, and a running server with a client."""

from __future__ import annotations

import http.client
import json
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from labelsieve.backbones import FeatureCache
from labelsieve.backbones.cache import image_key
from labelsieve.detectors.issues import COLUMNS
from labelsieve.review import ReviewServer

CLASSES = ["cat", "dog", "bird", "fish"]
HOSTILE = [
    "<img src=x onerror='window.hacked=1'>",
    "../../etc/passwd",
    "\"quoted\" & 'single' {{7*7}}",
    "žluťoučký 猫 🐈 \u202e" + "x" * 300,
]


def make_issues(n_rows: int, classes: list[str], *, every: int = 4) -> pd.DataFrame:
    """Every fourth label is an issue whose suggestion is the next class; row 3 is unreadable."""
    rows = np.arange(n_rows)
    names, given, issue = np.array(classes, dtype=object), rows % len(classes), rows % every == 0
    score = np.where(issue, 0.4 * rows / n_rows, 0.6 + 0.4 * rows / n_rows)
    table = pd.DataFrame(
        {
            "id": [f"id-{row}" for row in rows],
            "file_name": [f"{row}.png" for row in rows],
            "given_label": names[given],
            "predicted_label": names[(given + issue) % len(classes)],
            "is_label_issue": issue,
            "label_score": score,
            "suggested_label": np.where(issue, names[(given + 1) % len(classes)], None),
            "action": np.where(issue, "relabel", "keep").astype(object),
            "p_clean": score,
            "p_given": score,
            "p_predicted": np.where(issue, 1 - score, score),
            "detector": "test",
            "error": None,
        }
    )
    if n_rows > 3:
        table.loc[3, ["action", "error"]] = ["unreadable", "cut short"]
        table.loc[3, ["label_score", "p_clean", "p_given", "p_predicted"]] = np.nan
    return table[list(COLUMNS)]


def write_scan(out: Path, issues: pd.DataFrame, classes: list[str], source: Path) -> Path:
    """Write the files of a finished scan that a review reads."""
    out.mkdir(parents=True, exist_ok=True)
    issues.to_parquet(out / "issues.parquet", index=False)
    (out / "classes.json").write_text(json.dumps(classes))
    run = {"model": {"id": "drawn", "commit": None}, "data": {"source": str(source)}}
    (out / "run.json").write_text(json.dumps(run))
    return out


def write_photos(root: Path, issues: pd.DataFrame, classes: list[str]) -> Path:
    """A metadata folder with one plain image a row; row 3 is no image."""
    root.mkdir(parents=True)
    for row in range(len(issues)):
        colour = (row * 37 % 256, row * 91 % 256, 40 * (row % 4))
        Image.new("RGB", (80, 60), colour).save(root / f"{row}.png")
    (root / "3.png").write_bytes(b"no image")
    table = issues[["id", "file_name", "given_label"]].rename(columns={"given_label": "label"})
    table.to_csv(root / "metadata.csv", index=False)
    (root / "classes.json").write_text(json.dumps(classes))
    return root


@pytest.fixture
def scan_folder(tmp_path):
    """80 images in 4 classes, 20 label issues."""
    issues = make_issues(80, CLASSES)
    photos = write_photos(tmp_path / "photos", issues, CLASSES)
    return write_scan(tmp_path / "out", issues, CLASSES, photos)


@pytest.fixture
def hostile_folder(tmp_path):
    """Ids, file names and classes that try to be markup or paths."""
    issues = make_issues(24, HOSTILE)
    issues["id"] = [HOSTILE[row % 4] + str(row) for row in range(24)]
    photos = write_photos(tmp_path / "photos", issues, HOSTILE)
    issues.loc[[4, 8], "file_name"] = ["../../../../../../../etc/passwd", HOSTILE[0] + ".png"]
    table = issues[["id", "file_name", "given_label"]].rename(columns={"given_label": "label"})
    table.to_csv(photos / "metadata.csv", index=False)
    return write_scan(tmp_path / "out", issues, HOSTILE, photos)


@pytest.fixture
def big_folder(tmp_path):
    """100,000 rows in 100 classes without images."""
    classes = [f"class {k}" for k in range(100)]
    return write_scan(
        tmp_path / "big", make_issues(100_000, classes), classes, tmp_path / "nowhere"
    )


def cache_features(photos: Path, features: np.ndarray, model_id: str = "drawn") -> None:
    """Put features of the photos 0.png, 1.png, … into the feature cache, as a scan would."""

    class Drawn:
        fingerprint, dtype, embed_dim = f"{model_id}@test", "torch.float32", features.shape[1]

    Drawn.model_id = model_id  # pyright: ignore[reportAttributeAccessIssue]
    store = FeatureCache().store(Drawn())  # pyright: ignore[reportArgumentType]
    keys = [image_key((photos / f"{row}.png").read_bytes()) for row in range(len(features))]
    store.add(keys, features.astype(np.float32))
    store.flush()


class Client:
    """One browser without a page: a kept connection, cookie and origin."""

    def __init__(self, server: ReviewServer):
        self.port, self.token = server.port, server.token
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)

    @property
    def headers(self) -> dict[str, str]:
        """What the page of this server would send."""
        origin = f"http://127.0.0.1:{self.port}"
        cookie = f"labelsieve_review_{self.port}={self.token}"
        return {"Cookie": cookie, "Origin": origin, "Content-Type": "application/json"}

    def raw(self, method, path, body=None, headers=None):
        """Status, headers and bytes of an answer; `headers` replace those of the page."""
        self.connection.request(method, path, body, self.headers if headers is None else headers)
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def get(self, path):
        """The JSON of an address that must answer."""
        status, _, body = self.raw("GET", path)
        assert status == 200, (status, body)
        return json.loads(body)

    def decide(self, decisions, reviewer="Ada"):
        """Status and JSON of a decision."""
        body = json.dumps({"reviewer": reviewer, "decisions": decisions})
        status, _, answer = self.raw("POST", "/api/decisions", body)
        return status, json.loads(answer)


@contextmanager
def serving(folder, **options):
    """A server in a thread of this process."""
    server = ReviewServer(folder, **options)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def server(scan_folder):
    """A running review of `scan_folder`."""
    with serving(scan_folder) as running:
        yield running


@pytest.fixture
def client(server):
    """A client of `server`."""
    one = Client(server)
    yield one
    one.connection.close()


@pytest.fixture
def make_client():
    """Make a further client of a server."""
    made = []

    def make(server):
        made.append(Client(server))
        return made[-1]

    yield make
    for one in made:
        one.connection.close()


@pytest.fixture
def serve():
    """`serving`, for tests that bring their own folder."""
    return serving


@pytest.fixture(name="cache_features")
def cache_features_fixture():
    """`cache_features`, as a fixture."""
    return cache_features


@pytest.fixture
def open_page(browser):
    """Open the review; at the end there must have been no message and no request elsewhere."""
    problems, contexts = [], []

    def opened(url, *, expected=(), **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()

        def note(text):
            if not any(part in text for part in expected):
                problems.append(text)

        page.on("console", lambda message: note(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda r: r.url.startswith(url.split("?")[0]) or problems.append(r.url))
        page.goto(url)
        page.locator("main[aria-busy=false] #question").wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert problems == []
