"""Tables on standard output."""

from rich.table import Table

from twinlatent.terminal import show


def test_a_table_that_goes_to_a_file_is_as_wide_as_it_needs_to_be(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    table = Table("name")
    table.add_row("x" * 300)
    show(table)
    assert "x" * 300 in capsys.readouterr().out
