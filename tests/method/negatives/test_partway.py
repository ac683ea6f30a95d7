"""Images part of the way to another class, shown to the class they come from as vulnerable."""

import torch

from twinlatent.data import LabelledImages
from twinlatent.method import game
from twinlatent.method.game import play
from twinlatent.method.game_state import GameSettings
from twinlatent.method.negatives import PartwaySettings
from twinlatent.method.negatives.partway import between

NETWORKS = {"encoder": "c(3,4) z(4,4)", "decoder": "d(9) ct(3,4) d(64)"}


def settings(**partway: float) -> GameSettings:
    tiny = {"rounds": 3, "batch": 8, "adversary": {"steps": 2, "epsilon": 0.3}}
    return GameSettings.model_validate(NETWORKS | tiny | {"negatives": {"benign": {"share": 0.25}, "partway": partway}})


def test_they_lie_on_the_way_between_the_two_shares(generator: torch.Generator) -> None:
    benign = torch.rand(3, 6, 1, 4, 4, generator=generator)
    attacked = torch.rand(3, 6, 1, 4, 4, generator=generator)
    found = between(benign, attacked, PartwaySettings(share=0.5, nearest=0.2, farthest=0.4), generator)
    assert found.shape == (3, 3, 1, 4, 4)  # half of the six
    share = (found - benign[:, :3]) / (attacked - benign)[:, :3]
    assert bool(((share > 0.2 - 1e-4) & (share < 0.4 + 1e-4)).all())
    assert len(share.flatten(2).mean(2).unique()) == 9  # one point an image
    torch.testing.assert_close(share, share[..., :1, :1].expand_as(share), rtol=1e-2, atol=1e-3)


def test_each_class_gets_its_own_images(three_digits: LabelledImages, monkeypatch) -> None:
    """What the defender of c sees beyond the attacked batch is near its benign images, not near those of others."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    real = game.defender_turn

    def watched(state, benign, attacked, *rest):
        seen.append((benign, attacked))
        return real(state, benign, attacked, *rest)

    monkeypatch.setattr(game, "defender_turn", watched)
    play(three_digits, 3, settings(share=1.0, farthest=0.5), seed=1, progress=False)
    assert len(seen) == 3
    for benign, attacked in seen:
        own = attacked[:, benign.shape[1] :]
        assert own.shape[1] == 6
        assert float((own - benign[:, 2:]).abs().max()) <= 0.5 * 0.3 + 1e-5
        others = attacked[:, : benign.shape[1]]
        assert all(any(torch.equal(image, other) for c in range(3) for other in benign[c]) for image in others[0, :2])
        assert not any(torch.equal(others[0, 0], mine) for mine in benign[0])


def test_without_them_their_other_settings_do_nothing(three_digits: LabelledImages) -> None:
    first, second = (
        play(three_digits, 3, settings(share=0.0, farthest=to), seed=1, progress=False) for to in (0.6, 0.9)
    )
    pairs = zip(first.vaes.parameters(), second.vaes.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
