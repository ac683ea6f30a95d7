import pytest

from twinlatent.errors import TwinlatentError, one_line


@pytest.mark.parametrize("name", ["a.png", "\u00e9 \u6c34.png", "a\nb.png", "\udcff.png", "\x1b[31m.png", "a\u2028b"])
def test_a_message_is_one_line_that_can_be_written(name: str) -> None:
    message = str(TwinlatentError(f"{name}: no such file"))
    assert message.isprintable()
    message.encode("utf-8")
    assert (message == f"{name}: no such file") == name.isprintable()
    assert one_line(message) == message
