"""What a reader calls the attacks and detectors that records have short names for; all others keep their own name."""

from collections.abc import Iterable

ATTACK_NAMES = {
    "none": "no attack", "worst": "worst of all", "fgsm": "FGSM", "pgd": "PGD", "mim": "MIM", "cw": "CW-L2",
    "fgsm_w": "FGSM_W", "pgd_w": "PGD_W", "mim_w": "MIM_W", "cw_w": "CW-L2_W",
}  # fmt: skip
METHOD_NAMES = {
    "twinlatent": "twinlatent", "plain": "no defence", "gong": "Gong et al. 2017", "rce": "Pang et al. 2018",
    "adversarial-training": "adversarial training", "gat": "GAT-style",
}  # fmt: skip
KNOWLEDGE = {
    "plain": "the classifier's gradients", "adaptive": "classifier's and detector's gradients",
    "queries": "answers of both", "blind": "nothing of either",
}  # fmt: skip
"""What an attack uses, for each kind of `attacks.suites.KINDS`."""
CHECKS = {
    "gradients": "no term's gradient vanishes, and no attack goes without one",
    "gradient-balance": "the two terms of the attacks have gradients of comparable length",
    "gamma": "no search for γ ends at an end of its range",
    "adaptive": "attacks that know the detector succeed as often as those that do not",
    "iterative": "iterative attacks succeed as often as one-step ones",
    "blind": "attacks without gradients succeed on no image on which gradients fail",
    "epsilon": "success rises with the radius",
    "unbounded": "with no bound on the change attacks succeed on every image",
    "effort": "twice the steps and restarts hardly raise the success",
    "determinism": "the same image gets the same answer, alone or in a batch",
    "threshold": "as many benign images are flagged as was promised",
    "counts": "enough images stand behind every rate",
    "certificate": "no attack wins an image of which it is proved that none can",
    "mild-changes": "benign images that are mildly changed are flagged hardly more often",
}
"""What each check asks for."""
JUDGE_NAMES = {
    "knn": "nearest neighbours", "svm": "support vectors", "cnn": "convolutional network",
    "agreement": "all of them together",
}  # fmt: skip
LONGEST = 12
"""Letters of a name that fit under a small picture."""
TITLE, LEGEND = 28, 48
"""Letters of one that fit above half a figure, and in a line of a legend."""


def attack_name(attack: str) -> str:
    """What a reader calls an attack."""
    return ATTACK_NAMES.get(attack, attack)


def attack_names(attacks: Iterable[str]) -> dict[str, str]:
    """What a reader calls each of `attacks`; those that would be called the same keep their own names."""
    names = {attack: attack_name(attack) for attack in attacks}
    called = list(names.values())
    return {attack: name if called.count(name) == 1 else attack for attack, name in names.items()}


def detector_name(method: str, trained_with: str) -> str:
    """What a reader calls a detector: its method and training attack."""
    name = METHOD_NAMES.get(method, method)
    return name if trained_with == "none" else f"{name}, {attack_name(trained_with)}"


def shortened(name: str, longest: int = LONGEST) -> str:
    """The first letters of a long name, and …"""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
