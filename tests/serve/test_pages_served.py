"""Pages, documentation, health and counters of a real server."""

import json
import re
from pathlib import Path

import twinlatent.serve
from twinlatent.serve.static import pages_of

PAGES = Path(twinlatent.serve.__file__).parent / "pages"


def test_every_page_is_there_as_it_is_on_disk(server) -> None:
    pages = pages_of()
    assert "/" in pages
    for address in pages:
        path = PAGES / (f"{address}index.html" if address.endswith("/") else address).removeprefix("/")
        answer = server.get(address)
        assert (answer.status, answer.body) == (200, path.read_bytes())
        again = server.get(address, If_None_Match=answer.headers["etag"])
        assert (again.status, again.body) == (304, b"")
        if address.endswith("/"):
            assert not re.search(rb"\son\w+=|<style|<script(?! src=)", answer.body), "the policy forbids it"
    assert server.get("/canary7f3a.html").status == 404


def test_hidden_files_and_code_are_no_pages(tmp_path: Path) -> None:
    for name in ("index.html", "a/index.html", "a/b.js", ".git/config", "a/.hidden", "a/c.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    found = pages_of(tmp_path)
    assert {address: page.body.decode() for address, page in found.items()} == {
        "/": "index.html",
        "/a/": "a/index.html",
        "/a/b.js": "a/b.js",
    }
    assert len({page.tag for page in found.values()}) == 3
    assert found["/"].kind == "text/html; charset=utf-8"


def test_the_documentation_names_every_route_and_its_examples_hold(server) -> None:
    description = server.get("/openapi.json").json
    page = server.get("/docs").body.decode()
    assert len(description["paths"]) >= 12
    for path, methods in description["paths"].items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in page
    text = json.dumps(description)
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in description["components"]["schemas"]
    assert "HTTPValidationError" not in text
    infer = description["paths"]["/v2/models/{name}/infer"]["post"]["requestBody"]["content"]["application/json"]
    (example,) = infer["examples"].values()
    values = example["value"]["inputs"][0]
    values |= {"shape": [1, 8, 8], "data": values["data"] * 16}  # images of the size that is served
    answer = server.post("/v2/models/digits/infer", json.dumps(example["value"]).encode())
    assert answer.status == 200


def test_health_and_counters(server) -> None:
    assert server.get("/healthz").json == server.get("/readyz").json == {"status": "ok"}

    def counted() -> float:
        page = server.get("/metrics")
        assert page.headers["content-type"].startswith("text/plain; version=")
        line = re.search(r'^twinlatent_requests_total{route="none",status="404"} (\S+)$', page.body.decode(), re.M)
        return float(line[1]) if line else 0

    before = counted()
    for _ in range(3):
        assert server.get("/nowhere").status == 404
    assert counted() == before + 3
