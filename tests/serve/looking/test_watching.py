"""An evaluation's folder as the page sees it, while it is made and afterwards."""

import os
import time
from pathlib import Path

import pytest
from torch import Tensor

from twinlatent.attacks import Suite, run_suite
from twinlatent.claims import claimed
from twinlatent.criteria import Aim, Misclassified
from twinlatent.data import Split
from twinlatent.errors import TwinlatentError
from twinlatent.evaluation.results.folder import UNFINISHED, evaluation_folder
from twinlatent.files import write_text
from twinlatent.method.detector import Detector
from twinlatent.outputs import Outputs
from twinlatent.serve.looking.watching import Watched

KEY = "key"


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "evaluation", KEY)


def kept(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / "unfinished" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_a_folder_goes_through_all_its_states(watched: Watched) -> None:
    folder = watched.folder
    found = watched.look()
    assert (found.name, found.state, found.parts, found.report) == ("evaluation", "empty", [], None)
    assert found.seconds_since is None
    with claimed(folder):
        assert watched.look().state == "unfinished"
        kept(folder, "evaluation.json", "points/fgsm-000000.npz", "points/fgsm-000250.npz", "points/pgd-000000.npz",
             "points/identity.json", "shared/substitute-f_p.safetensors", "shared/notes.txt")  # fmt: skip
        old = time.time() - 100
        os.utime(folder / "unfinished/shared/substitute-f_p.safetensors", (old, old))
        found = watched.look()
        assert [(part.where, part.what, part.files) for part in found.parts] == [
            ("points", "fgsm, pgd", 3), ("shared", "substitute-f_p", 1)]  # fmt: skip
        assert found.parts[1].seconds_since == pytest.approx(100, abs=5)
        assert found.seconds_since < 5
    assert watched.look().state == "stopped"
    (folder / "report.html").write_text("<p>done", encoding="utf-8")
    assert watched.look().state == "stopped"
    for path in sorted(folder.glob("unfinished/**/*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert watched.look().state == "finished"


def test_a_report_that_changed_has_another_address(watched: Watched) -> None:
    watched.folder.mkdir()
    page = watched.folder / "report.html"
    page.write_text("<p>1", encoding="utf-8")
    os.utime(page, (1, 1))
    first = watched.look().report
    assert first == f"evaluation/report?key={KEY}&changed=1.000"
    os.utime(page, (2, 2))
    assert watched.look().report != first


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TwinlatentError, match=r"--watch .*file is a file; give the folder of an evaluation"):
        Watched(tmp_path / "file", KEY)


def test_the_report_is_shown_to_who_was_told_its_address(serve_looking, trained_detector, tmp_path: Path) -> None:
    models, token = {"digits": trained_detector}, "a secret of the test"
    (tmp_path / "report.html").write_text("<p>here", encoding="utf-8")
    (tmp_path / "other.html").write_text("<p>not this", encoding="utf-8")
    with serve_looking(models, None, watch=tmp_path) as open_to_all:
        status, said, _ = open_to_all.ask("v1/evaluation")
        assert (status, said["state"]) == (200, "finished")
        status, page, headers = open_to_all.ask(said["report"])
        assert (status, page) == (200, "<p>here")
        assert headers["content-security-policy"].startswith("default-src 'none'; img-src data:")
        assert "sandbox" in headers["content-security-policy"]
        for wrong in ("evaluation/report", "evaluation/report?key=", "evaluation/report?key=ä",
                      said["report"].replace("report?", "other.html?"), "evaluation/../other.html"):  # fmt: skip
            assert open_to_all.ask(wrong.replace("ä", "%C3%A4"))[0] == 404
        (tmp_path / "report.html").unlink()
        assert open_to_all.ask(said["report"])[0] == 404
        assert open_to_all.ask("v1/evaluation")[1]["state"] == "empty"
    with serve_looking(models, None, watch=tmp_path, token=token) as closed:
        assert closed.ask("v1/evaluation")[0] == 401
        assert closed.ask("evaluation")[0] == 200
        assert closed.ask("evaluation/report?key=guess")[0] == 404


def test_nothing_is_watched_unless_asked(serve_looking, trained_detector) -> None:
    with serve_looking({"digits": trained_detector}, None) as server:
        status, said, _ = server.ask("v1/evaluation")
        assert (status, said["error"]) == (404, "no evaluation is watched; start the server with --watch FOLDER")
        assert server.ask("evaluation/report?key=")[0] == 404
        assert server.ask("v1/page")[1]["evaluation"] is False


def test_what_an_evaluation_keeps_is_seen_while_it_runs(trained_detector: Detector, digits: Split, watched) -> None:
    seen, images, labels = [], digits.test.images[:6], digits.test.labels[:6]

    class Looking(Misclassified):
        """Asked at every step of an attack."""

        def __call__(self, outputs: Outputs, aim: Aim) -> Tensor:
            seen.append(watched.look())
            return super().__call__(outputs, aim)

    with evaluation_folder(watched.folder, {"detector": "this"}):
        suite = Suite("quick", 0.2, steps=2).attacks()
        folder = watched.folder / UNFINISHED / "points" / "epsilon-0.2"
        run_suite(suite, trained_detector, images, labels, criterion=Looking(), norm="linf", epsilon=0.2,
                  batch_size=3, folder=folder, progress=False)  # fmt: skip
        last = watched.look()
        write_text(watched.folder / "report.html", "<p>whole")
    assert {found.state for found in seen} == {"unfinished"}
    assert {len(found.parts) for found in seen} == {0, 1}
    (part,) = last.parts
    assert (part.where, part.what) == ("points/epsilon-0.2", ", ".join(sorted(suite)))
    assert part.files == 2 * len(suite)
    found = watched.look()
    assert (found.state, found.parts) == ("finished", [])
    assert found.report is not None
