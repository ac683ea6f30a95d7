"""Arrays in, verdicts out: train a detector on 8×8 digits, show it benign and attacked images.

    python examples/01_detect_digits.py

The preset "smoke" takes seconds and shows how things fit together, not what a detector reaches; "standard" is the
one to use.
"""

import torch
from sklearn.datasets import load_digits

import twinlatent as tl


def main() -> None:
    # Any grey images will do: floating (n, 1, height, width) in [0, 1], tensors or arrays, and whole-number labels.
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).reshape(-1, 1, 8, 8)
    detector = tl.fit(images[:1500], labels[:1500], preset="smoke", progress=False)

    benign = torch.tensor(images[1500:], dtype=torch.float32)
    true = torch.tensor(labels[1500:])
    # A detector is a differentiable function of images, so attacks run on it as on any network.
    attacked = tl.attacks.pgd(detector, benign, true, epsilon=0.3, step_size=0.03, steps=20).images

    for name, shown in (("benign", benign), ("attacked", attacked)):
        verdict = detector.detect(shown, fpr=0.05)  # flag about 5 % of benign images
        read = (verdict.label == true).double().mean()
        flagged = verdict.adversarial.double().mean()
        print(f"{len(shown)} {name} images: {read:.0%} classified correctly, {flagged:.0%} flagged")

    verdict = detector.detect(benign[:3])
    for i in range(3):
        said = "adversarial" if verdict.adversarial[i] else "benign"
        print(f"image {i}: class {detector.class_names[verdict.label[i]]}, {said}, p = {verdict.p_value[i]:.3f}")

    detector.save("digits.safetensors")  # a safetensors file; nothing is pickled
    again = tl.load("digits.safetensors").detect(benign[:3])
    print(f"loaded again, the same verdicts: {torch.equal(again.suspicion, verdict.suspicion)}")


if __name__ == "__main__":
    main()
