"""The server over real HTTP: decisions, paging, images, neighbours, and who may ask."""

from __future__ import annotations

import io
import json
import sqlite3
import threading

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from labelsieve.core.exceptions import InputError
from labelsieve.data import load_images
from labelsieve.review import ReviewServer
from labelsieve.review.guard import Hosts
from labelsieve.review.neighbours import NeighbourFinder
from labelsieve.review.session import ReviewSession
from labelsieve.sieve.decision_files import read_decisions
from labelsieve.sieve.decisions import hold


def test_decisions_conflicts_and_news(client, scan_folder):
    rows = client.get("/api/rows?limit=3")["rows"]
    first = {"row": rows[0]["row"], "action": "relabel", "label": "dog", "version": 0}
    status, result = client.decide([first])
    assert status == 200
    assert result["saved"][0]["decision"]["label"] == "dog"
    assert result["progress"]["n_done"] == 1
    assert result["progress"]["estimate"]["found"] == 1
    status, result = client.decide([first | {"action": "keep"}], reviewer="Bob")
    assert status == 409
    conflict = result["conflicts"][0]
    given = ["cat", "dog", "bird", "fish"][first["row"] % 4]
    assert conflict["wanted"] == {"action": "keep", "label": given}
    assert conflict["decision"]["reviewer"] == "Ada"
    assert conflict["decision"]["label"] == "dog"
    status, _ = client.decide([first | {"action": "keep", "version": conflict["version"]}], "Bob")
    assert status == 200
    news = client.get("/api/changes?since=1")
    assert [(r["row"], r["decision"]["reviewer"]) for r in news["rows"]] == [(first["row"], "Bob")]
    detail = client.get(f"/api/rows/{first['row']}")
    assert [h["by"] for h in detail["history"]] == ["Bob", "Ada"]
    assert client.get("/api/rows?state=undecided")["total"] == 19
    assert client.get("/api/rows?state=keep")["rows"][0]["row"] == first["row"]
    db = sqlite3.connect(scan_folder / "decisions.sqlite")
    assert db.execute("SELECT id, action, label, reviewer FROM current").fetchall() == [
        (f"id-{first['row']}", "keep", given, "Bob")
    ]
    db.close()


def test_decisions_of_another_process_arrive(client, scan_folder):
    other = ReviewSession(scan_folder)
    other.decide([{"row": 8, "action": "drop", "version": 0}], "Bob")
    other.close()
    entry = client.get("/api/rows/8")
    assert entry["decision"]["action"] == "drop"
    assert client.decide([{"row": 8, "action": "keep", "version": 0}])[0] == 409


def test_a_page_of_other_images_decides_nothing(scan_folder):
    """A page left open while the data changed, was scanned again and served again."""
    session = ReviewSession(scan_folder)
    key = session.about()["rows_key"]
    session.close()
    issues = pd.read_parquet(scan_folder / "issues.parquet")
    issues.iloc[1:].to_parquet(scan_folder / "issues.parquet", index=False)
    again = ReviewSession(scan_folder)
    wanted = [{"row": 0, "action": "drop", "version": 0}]
    with pytest.raises(InputError, match="no longer the one that was shown; load the page again"):
        again.decide(wanted, "Ada", key)
    assert again.progress()["n_done"] == 0
    assert again.about()["rows_key"] != key
    assert again.decide(wanted, "Ada", again.about()["rows_key"])["saved"]
    again.close()


def test_giving_the_given_label_again_keeps_it(client):
    wanted = {"row": 0, "action": "relabel", "label": "cat", "version": 0}
    assert client.decide([wanted])[1]["saved"][0]["decision"]["action"] == "keep"


def test_a_kept_label_that_changes_later_is_told_when_the_data_are_scanned_again(
    client, scan_folder, tmp_path
):
    wanted = [{"row": row, "action": "keep", "version": 0} for row in (4, 5)]
    assert client.decide(wanted)[0] == 200
    images = load_images(tmp_path / "photos")
    kept = hold(read_decisions(scan_folder), images)
    assert kept.label[[4, 5]].tolist() == images.given_labels[[4, 5]].tolist() == [0, 1]
    labels = images.given_labels.copy()
    labels[5] = 3
    with pytest.raises(InputError, match=r"'id-5' was decided to keep 'dog', but .* is 'fish'"):
        hold(read_decisions(scan_folder), images.with_labels(labels))


def test_bad_decisions_are_refused_together_and_nothing_is_saved(client):
    good = {"row": 0, "action": "keep", "version": 0}
    bad = [
        {"row": 80, "action": "keep", "version": 0},
        {"row": True, "action": "keep", "version": 0},
        {"row": 1, "action": "guess", "version": 0},
        {"row": 1, "action": "relabel", "label": "<b>", "version": 0},
        {"row": 1, "action": "keep"},
        "text",
    ]
    status, answer = client.decide([good, *bad])
    assert status == 400
    assert "6 problems" in answer["error"]
    assert "'<b>' is not a class" in answer["error"]
    assert client.get("/api/progress")["n_decided"] == 0
    for body in ("[]", "{", '{"decisions": []}', "[" * 100_000):
        assert client.raw("POST", "/api/decisions", body)[0] == 400
    assert client.raw("POST", "/api/decisions", " " * (2 << 20))[0] == 413
    assert client.decide([good])[0] == 200


def test_a_thousand_rapid_decisions_from_two_clients(server, scan_folder, make_client):
    """Both decide about the same 80 images; all 1,000 are in the history, none overwrote unseen."""
    confirmed = {"Ada": [], "Bob": []}

    def review(name):
        mine, versions = make_client(server), dict.fromkeys(range(80), 0)
        for turn in range(500):
            row, action = turn % 80, ("keep", "drop", "unsure")[turn % 3]
            while True:
                wanted = {"row": row, "action": action, "version": versions[row]}
                status, result = mine.decide([wanted], name)
                if status == 200:
                    break
                assert status == 409
                versions[row] = result["conflicts"][0]["version"]
            saved = result["saved"][0]
            versions[row] = saved["version"]
            confirmed[name].append((saved["version"], f"id-{row}", action))

    threads = [threading.Thread(target=review, args=(name,)) for name in confirmed]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    db = sqlite3.connect(scan_folder / "decisions.sqlite")
    history = set(db.execute("SELECT seq, id, action FROM history"))
    current = dict(db.execute("SELECT id, version FROM current"))
    db.close()
    assert all(len(entries) == 500 for entries in confirmed.values())
    # a decision that both took is written once and confirmed to both
    assert set(confirmed["Ada"]) | set(confirmed["Bob"]) == history
    assert current == {i: max(s for s, j, _ in history if j == i) for i in current}


def test_images_are_encoded_anew_and_only_by_row(client, server, scan_folder):
    status, headers, body = client.raw("GET", "/image/5/small")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(body)).size == (80, 60)
    assert list((scan_folder / ".review").glob("*/*-small")), "the copy is kept"
    assert client.raw("GET", "/image/5/small")[2] == body
    paths = ["/image/3/small", "/image/80/small", "/image/-1/small", "/image/5/huge"]
    paths += ["/image/..%2f..%2fetc%2fpasswd/small", "/image/5/..%2f..%2f..%2fetc%2fpasswd"]
    paths += ["/assets/..%2fapp.py", "/assets/../app.py", "/assets/%2e%2e/app.py", "/assets/"]
    paths += ["/decisions.sqlite", "/../../etc/passwd", "//etc/passwd", "/assets//etc/passwd"]
    for path in paths:
        status, _, body = client.raw("GET", path)
        assert status == 404, path
        assert b"root:" not in body
        assert b"import" not in body


def test_hostile_names_stay_data(hostile_folder, make_client, serve):
    with serve(hostile_folder) as server:
        client = make_client(server)
        status, _, body = client.raw("GET", "/image/4/small")  # its file name is ../../etc/passwd
        assert (status, b"root:" in body) == (404, False)
        _, headers, body = client.raw("GET", "/api/rows?scope=all")
        assert headers["content-type"] == "application/json"
        files = {entry["row"]: entry["file"] for entry in json.loads(body)["rows"]}
        assert files[4].endswith("/etc/passwd")
        name = client.get("/api/about")["names"][1]
        wanted = {"row": 0, "action": "relabel", "label": name, "version": 0}
        assert client.decide([wanted], reviewer="<b>" * 100)[0] == 200
        saved = client.get("/api/rows/0")
        assert saved["decision"]["label"] == "../../etc/passwd"
        assert len(saved["decision"]["reviewer"]) == 80


def test_who_may_ask(client, server):
    good = client.headers
    host = f"127.0.0.1:{server.port}"

    def status(method="GET", path="/api/about", body=None, **changes):
        headers = {k.replace("_", "-"): v for k, v in {**good, **changes}.items() if v is not None}
        return client.raw(method, path, body, headers)[0]

    assert status() == 200
    assert status(Host=f"localhost:{server.port}", Origin=None) == 200
    assert status(Host=f"localhost:{server.port}") == 403, "another origin"
    assert status(Host="localhost:9999", Origin="http://localhost:9999") == 200  # a tunnel
    for name in ("evil.example", f"evil.example:{server.port}", "127.0.0.1.evil.example", ""):
        assert status(Host=name) == 421, name
    assert status(Cookie=None) == 401
    assert status(Cookie=f"labelsieve_review_{server.port}=guess") == 401
    assert status(path="/?token=guess", Cookie=None) == 401
    assert status(path=f"/api/about?token={server.token}", Cookie=None) == 401
    assert status(Sec_Fetch_Site="cross-site") == 403
    assert status(Sec_Fetch_Site="same-site") == 403
    assert status(path="/image/5/small", Sec_Fetch_Site="cross-site") == 403
    assert status(path="/", Sec_Fetch_Site="cross-site", Origin=None) == 200  # a link to the page
    body = json.dumps(
        {"reviewer": "Eve", "decisions": [{"row": 0, "action": "drop", "version": 0}]}
    )
    for changes, expected in [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": None}, 403),
        ({"Origin": None, "Sec_Fetch_Site": "none"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Cookie": None}, 401),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 421),
    ]:
        assert status("POST", "/api/decisions", body, **changes) == expected, changes
    assert client.get("/api/progress")["n_decided"] == 0
    assert status("POST", "/api/decisions", body, Origin=f"http://{host}") == 200
    for method in ("PUT", "DELETE", "OPTIONS"):
        assert status(method, "/api/decisions", "{}") == 405


def test_the_key_moves_from_the_address_to_a_cookie(client, server):
    status, headers, page = client.raw("GET", f"/?token={server.token}", headers={})
    assert status == 200
    cookie = headers["set-cookie"]
    assert cookie.startswith(f"labelsieve_review_{server.port}={server.token}; ")
    assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    assert server.token.encode() not in page
    policy = headers["content-security-policy"]
    for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"):
        assert part in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert b"<script type=" in page
    assert b"</script>" in page
    assert page.count(b"<script") == page.count(b'src="/assets/main.js"></script>')  # none inline
    assert b" style=" not in page
    refused = client.raw("GET", "/", headers={})
    assert refused[0] == 401
    assert refused[1]["x-content-type-options"] == "nosniff"


def test_network_needs_a_flag_and_a_new_key(scan_folder):
    with pytest.raises(InputError, match="--allow-network"):
        ReviewServer(scan_folder, host="0.0.0.0")
    with pytest.raises(InputError, match="2 problems"):
        ReviewServer(scan_folder, host="192.0.2.1", port=70000)
    tokens = set()
    for _ in range(2):
        server = ReviewServer(scan_folder, host="0.0.0.0", allow_network=True)
        tokens.add(server.token)
        server.close()
    assert len(tokens) == 2
    assert not (scan_folder / ".review" / "server.json").exists()


def test_names_of_the_server():
    here, net = Hosts("127.0.0.1", False), Hosts("0.0.0.0", True)
    for name in ("127.0.0.1:80", "LOCALHOST", "[::1]:8000", "[::1]"):
        assert here.allows(name)
        assert net.allows(name)
    for name in ("192.168.0.7:80", "10.0.0.1"):
        assert not here.allows(name)
        assert net.allows(name)  # a plain address cannot be rebound
    for name in ("evil.example", "", ":80", "127.0.0.1.evil.example", "a@127.0.0.1"):
        assert not here.allows(name)
        assert not net.allows(name)


def test_a_new_server_has_the_address_of_the_last_one(scan_folder):
    first = ReviewServer(scan_folder)
    second = ReviewServer(scan_folder)  # the port is taken: another one, the same key
    assert (second.port != first.port, second.token) == (True, first.token)
    kept = scan_folder / ".review" / "server.json"
    assert kept.stat().st_mode & 0o077 == 0
    first.close()
    second.close()
    third = ReviewServer(scan_folder)
    assert third.url == second.url
    third.close()
    kept.write_text('{"port": 1, "token": "short"}')
    fourth = ReviewServer(scan_folder)
    assert len(fourth.token) >= 32
    fourth.close()


def test_a_page_of_100_000_rows_is_small(big_folder, make_client, serve):
    with serve(big_folder) as server:
        client = make_client(server)
        about = client.get("/api/about")
        assert about["n_rows"] == 100_000
        assert "cannot be found again" in about["problem"]
        seen, after = [], ""
        for query in ("scope=all", "scope=flagged&order=gain", "scope=all&text=id-9&order=class"):
            _, _, body = client.raw("GET", f"/api/rows?{query}&limit=48")
            assert len(body) < 48 * 400
        for _ in range(3):
            page = client.get(f"/api/rows?scope=flagged&state=undecided&limit=200{after}")
            seen += [entry["row"] for entry in page["rows"]]
            after = f"&after={seen[-1]}"
        issues = pd.read_parquet(big_folder / "issues.parquet")
        worst = issues[issues["is_label_issue"]].sort_values("label_score", kind="stable")
        assert seen == worst.index[:600].tolist()
        assert page["total"] == 25_000
        assert len(client.raw("GET", "/api/pairs")[2]) < 30_000
        assert len(client.raw("GET", "/api/about")[2]) < 10_000
        many = [{"row": row, "action": "keep", "version": 0} for row in seen]
        assert client.decide(many)[0] == 200
        assert client.get("/api/rows?state=undecided")["total"] == 24_400


def test_neighbours_equal_brute_force(scan_folder, cache_features):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(80, 16)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    features[7] = features[9]
    cache_features(scan_folder.parent / "photos", features)
    session = ReviewSession(scan_folder)
    session.neighbours.load()
    assert session.neighbours.status == "ready"
    cosine = features @ features.T
    np.fill_diagonal(cosine, -2)
    for row in (0, 9, 79):
        found = session.neighbours.find(row, k=5)
        expected = np.argsort(-cosine[row], kind="stable")[:5]
        assert [other for other, _ in found] == expected.tolist()
        np.testing.assert_allclose([c for _, c in found], cosine[row][expected], atol=1e-6)
    near = session.row(9)["neighbours"]["rows"]
    assert near[0]["row"] == 7
    assert near[0]["same"]
    session.decide([{"row": 7, "action": "relabel", "label": "bird", "version": 0}], "Ada")
    near = session.row(9)["neighbours"]["rows"]
    assert (near[0]["label"], near[0]["decided"]) == (2, True)  # the decided label counts
    session.close()


def test_without_features_the_page_says_so(scan_folder, cache_features):
    session = ReviewSession(scan_folder)
    session.neighbours.load()
    neighbours = session.row(4)["neighbours"]
    assert neighbours["status"] == "unavailable"
    assert "nothing of the model 'drawn'" in neighbours["message"]
    assert len(session.row(4)["evidence"]) == 3
    session.close()
    finder = NeighbourFinder(None, "drawn")
    finder.load()
    assert finder.message == "the images are not where they were"
    cache_features(scan_folder.parent / "photos", np.ones((1, 4)))
    finder = NeighbourFinder(session.images, "drawn")
    finder.load()
    assert "no longer has these images" in finder.message
