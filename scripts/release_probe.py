"""Say in JSON what an installed package can do: its version, its names, and what every shipped detector answers.

scripts/release_check.py runs it twice, with what the wheel brought and with the sources: both must say the same.
"""

import json
import sys
from importlib import metadata
from pathlib import Path

import torch

import twinlatent as tl
from twinlatent import zoo

IMAGES = 8


def answers(name: str) -> dict[str, object]:
    """Verdicts of a shipped detector on noise, to the last bit, and whether it has a card."""
    detector = tl.load(f"{zoo.ZOO}{name}")
    images = torch.rand(IMAGES, *detector.image_shape, generator=torch.Generator().manual_seed(0))
    verdict = detector.detect(images)
    said = {part: getattr(verdict, part).tolist() for part in ("label", "adversarial", "p_value", "suspicion")}
    return {**said, "card": has_card(name)}


def has_card(name: str) -> bool:
    """Whether what should be the card of a shipped detector is one."""
    try:
        return zoo.card(name).startswith("# ")
    except OSError:
        return False


def main() -> None:
    """Print it."""
    said = {
        "place": str(Path(tl.__file__).parent),
        "version": tl.__version__,
        "names": [name for name in tl.__all__ if getattr(tl, name) is not None],
        "detectors": {name: answers(name) for name in zoo.names()},
        "torchvision": any(found.name.lower() == "torchvision" for found in metadata.distributions()),
    }
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
