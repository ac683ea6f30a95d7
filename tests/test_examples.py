"""Every example runs as it is, from any folder, without the network, and says what it should."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import twinlatent as tl

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
LONGEST = 60  # lines
SHARE = r"\d+%"
INTERVAL = r"\[[01]\.\d{3}, [01]\.\d{3}\]"


def judged(name: str) -> list[str]:
    """What an example prints that judges a detector."""
    return [
        f"{name} on digits, 359 test images",
        rf"  accuracy 0\.9\d\d {INTERVAL}, false positives 0\.0\d\d {INTERVAL}",
        *(rf"  black box, {attack}: AUC [01]\.\d{{3}} {INTERVAL}" for attack in ("fgsm", "pgd", "mim", "cw")),
        *(rf"  white box, worst at ε {epsilon}: SR@5 % [01]\.\d{{3}} {INTERVAL}" for epsilon in ("0.1", "0.2")),
        rf"  mild changes, most after [a-z]+ \d: flagged [01]\.\d{{3}} {INTERVAL}",
        r"  checks: \d+ pass, .*counts: warn",
    ]


LONG = ("03_attack_a_detector.py", "05_judge_your_own_detector.py", "06_feature_squeezing.py", "07_mahalanobis.py")
"""The slow test runs them; what the first two call, the notebooks and the docs' code call here as well."""
SAID = {  # file -> what its output must match, line by line
    "01_detect_digits.py": [
        rf"297 benign images: {SHARE} classified correctly, {SHARE} flagged",
        rf"297 attacked images: {SHARE} classified correctly, {SHARE} flagged",
        *(rf"image {i}: class \d, (benign|adversarial), p = [01]\.\d{{3}}" for i in range(3)),
        "loaded again, the same verdicts: True",
    ],
    "02_own_classifier_attack.py": [
        r"359 test images: accuracy (9\d|100)%",
        *(rf"PGD, ε = {epsilon:g}: accuracy {SHARE}, largest change of a pixel {epsilon:.2f}"
          for epsilon in (0.05, 0.1, 0.2)),
    ],
    "03_attack_a_detector.py": [
        *(rf"selective PGD, ε = {epsilon:g}: {SHARE} misclassified and not flagged" for epsilon in (0.05, 0.1, 0.2)),
        *(rf"{name}: {SHARE} misclassified, {SHARE} not flagged either"
          for name in ("none", "noise", "fgsm", "fgsm_w", "pgd", "mim_w", "selective", "probing")),
        rf"worst: {SHARE}",
        rf"detect agrees: {SHARE}",
        "Look at: is the worst far above each single attack.*",
        "Does noise, which knows nothing, come near.*",
    ],
    "04_own_images.py": [
        r"classes one, two, zero: 293 training, 108 calibration, 107 test images",
        rf"test images: {SHARE} classified correctly, \d+ flagged",
    ],
    "05_judge_your_own_detector.py": [
        *judged("feature squeezing"),
        rf"the worst attack wins {SHARE} of 50 images",
    ],
    "06_feature_squeezing.py": judged("FeatureSqueezing"),
    "07_mahalanobis.py": judged("Mahalanobis"),
}  # fmt: skip
LEFT = {"01_detect_digits.py": ["digits.safetensors"]}  # file -> what it writes into the current folder


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch) -> Path:
    """An empty current folder, without the network."""
    monkeypatch.chdir(tmp_path)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    return tmp_path


def check(name: str, said: list[str], folder: Path) -> None:
    """What an example printed and left in its folder is what it should."""
    assert len(said) == len(SAID[name])
    for line, pattern in zip(said, SAID[name], strict=True):
        assert re.fullmatch(pattern, line), line
    assert sorted(path.name for path in folder.iterdir()) == LEFT.get(name, [])
    if name == "03_attack_a_detector.py":
        selective = [int(re.findall(r"(\d+)% misclassified", line)[0]) for line in said[:3]]
        assert selective == sorted(selective), "a larger budget must not succeed less often"
        worst, agreed = (int(re.findall(r"(\d+)%", line)[0]) for line in said[11:13])
        assert abs(worst - agreed) <= 1, "`detect` computes in other batches: rounding may decide at most one image"
        assert worst >= max(int(re.findall(r"(\d+)% not", line)[0]) for line in said[3:10])
    if name.startswith("02"):
        accuracies = [int(re.findall(r"accuracy (\d+)%", line)[0]) for line in said]
        assert accuracies == sorted(accuracies, reverse=True), "a larger budget must not leave more accuracy"
        assert accuracies[-1] < 50


def test_each_example_is_tested_and_short() -> None:
    files = sorted(EXAMPLES.glob("*.py"))
    assert [path.name for path in files] == sorted(SAID)
    assert {path.name: n for path in files if (n := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST} == {}


@pytest.mark.parametrize("name", [name for name in SAID if name not in LONG])
def test_an_example_says_what_it_should(name: str, nowhere: Path, capsys) -> None:
    """In this process, where all that is slow to import is there already; warnings are errors here, too."""
    with torch.random.fork_rng():
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    done = capsys.readouterr()
    assert done.err == ""
    check(name, done.out.splitlines(), nowhere)


@pytest.mark.parametrize("name", LONG[2:])
def test_a_detector_of_a_paper_is_built_and_tells_attacked_images(name: str) -> None:
    with torch.random.fork_rng():
        detector = runpy.run_path(str(EXAMPLES / name))["build"]()
    test = tl.data.load("digits", progress=False).test.subset(slice(100))
    benign = detector(test.images)
    assert (benign.logits.argmax(1) == test.labels).double().mean() > 0.9
    attacked = tl.attacks.fgsm(lambda images: detector(images).logits, test.images, test.labels, epsilon=0.2).images
    assert detector(attacked).suspicion.mean() > benign.suspicion.mean()


@pytest.mark.slow
@pytest.mark.parametrize("name", SAID)
def test_an_example_needs_nothing_but_itself(name: str, nowhere: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    done = subprocess.run([sys.executable, "-W", "error", str(EXAMPLES / name)], env=environment,
                          capture_output=True, text=True, encoding="utf-8", timeout=120, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    check(name, done.stdout.splitlines(), nowhere)
