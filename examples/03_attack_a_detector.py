"""Attack a detector that you know: how often is an image misclassified and not flagged?

python examples/03_attack_a_detector.py
"""

import twinlatent as tl
from twinlatent.criteria import Misclassified, Undetected

FPR = 0.05


def main() -> None:
    split = tl.data.load("digits", progress=False)
    detector = tl.fit_split(split, preset="smoke", progress=False)  # in seconds; no match for "standard"
    images, labels = split.test.images[:100], split.test.labels[:100]

    bounds = detector.bounds(FPR)  # thresholds from calibration images, before any attack
    passed = Misclassified() & Undetected(bounds, FPR)
    for epsilon in (0.05, 0.1, 0.2):
        found = tl.attacks.selective_pgd(detector, images, labels, epsilon=epsilon, criterion=passed)
        print(f"selective PGD, ε = {epsilon}: {found.success.double().mean():.0%} misclassified and not flagged")

    # One attack proves little: run several, and count the worst for each image.
    suite = tl.attacks.Suite("quick", epsilon=0.1, level=bounds.thresholds[FPR]).attacks()
    result = tl.attacks.run_suite(suite, detector, images, labels, criterion=passed, norm="linf", epsilon=0.1,
                                  progress=False)  # fmt: skip
    for name, tried in result.by_attack.items():
        misclassified = (tried.result.labels != labels).double().mean()
        print(f"{name}: {misclassified:.0%} misclassified, {tried.wins.double().mean():.0%} not flagged either")
    print(f"worst: {result.success.double().mean():.0%}")

    verdict = detector.detect(result.images, FPR)  # the last word
    print(f"detect agrees: {((verdict.label != labels) & ~verdict.adversarial).double().mean():.0%}")
    print("Look at: is the worst far above each single attack? Then none is strong enough; try the suite standard.")
    print("Does noise, which knows nothing, come near the others? Then their gradients lead nowhere.")


if __name__ == "__main__":
    main()
