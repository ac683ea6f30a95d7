"""Settings by name: changes, and what is wrong in a line."""

from functools import partial
from typing import Literal

import pytest
from pydantic import BaseModel

from twinlatent.errors import TwinlatentError
from twinlatent.method.game_state import GameSettings
from twinlatent.recipes import shipped
from twinlatent.settings import checked, override

BEFORE = shipped("digits-smoke").game_settings()


def test_single_settings_can_be_changed() -> None:
    after = override(BEFORE, ["rounds=7", " adversary.epsilon=0.125", "adversary.attack=pgd", "loss.margin=2",
                              "negatives.partway.share=0.5"])  # fmt: skip
    told = BEFORE.model_dump()
    told["rounds"] = 7
    told["adversary"] |= {"epsilon": 0.125, "attack": "pgd"}
    told["loss"]["margin"] = 2
    told["negatives"]["partway"]["share"] = 0.5
    assert after.model_dump() == told
    assert override(BEFORE, []) == BEFORE
    assert BEFORE.rounds != 7


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("rounds", "no value"),
        ("rounds=-1", "rounds = '-1'"),
        ("rounds=many", "rounds = 'many'"),
        ("adversary.epsilon=2", "adversary.epsilon = '2'"),
        ("epsilon=0.1", "'epsilon' is unknown; did you mean adversary.epsilon or bound.epsilon or binary.epsilon?"),
        ("adversary.epsilom=0.1", "'adversary.epsilom' is unknown; did you mean adversary.epsilon?"),
        ("negatives.partaway.share=1", "'negatives.partaway.share' is unknown"),
        ("nothing.alpha=0.1", "nothing"),
        ("rounds.alpha=0.1", "rounds"),
        ("underway=0.3", "setting 'underway' is called negatives.partway.share now"),
        ("outsider.size=0.3", "setting 'outsider.size' is called negatives.surrogate.size now"),
        ("negatives.partway.nearest=0.9", "nearest is 0.9, farther than farthest"),
    ],
)
def test_a_change_without_sense_is_named(change: str, complaint: str) -> None:
    with pytest.raises(TwinlatentError) as caught:
        override(BEFORE, [change])
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_pydantic_calls_its_own_parts_is_left_out() -> None:
    class Either(BaseModel):
        kind: Literal["a"] | Literal["b", "c"] = "a"
        by: dict[Literal["mim", "pgd"], int] = {}
        size: Literal[1, 2] = 1

    for values, line in (
        ({"kind": "d"}, "setting kind = 'd': choose from a, b, c"),
        ({"by": {"fgsm": 1}}, "setting by.fgsm = 'fgsm': choose from mim, pgd"),
        ({"size": 3}, "setting size = 3: Input should be 1 or 2"),
    ):
        with pytest.raises(TwinlatentError) as caught:
            checked(partial(Either.model_validate, values))
        assert str(caught.value) == line


@pytest.mark.parametrize("name", ["mnist-smoke", "mnist", "mnist-paper"])
def test_settings_survive_being_written_down(name: str) -> None:
    settings = shipped(name).game_settings()
    assert GameSettings(**settings.model_dump()) == settings
    assert GameSettings.model_validate_json(settings.model_dump_json()) == settings
