"""What the paper's tables and figures are made of."""

from twinlatent.attacks.budgets import ATTACKS
from twinlatent.cells import CELLS, DATA, MOTIVATION_CELLS, MOTIVATION_DATA, SHOWN_ON


def test_every_table_is_part_of_all_of_them() -> None:
    assert {cell for cells in CELLS.values() for cell in cells} == set(CELLS["all"])
    assert len({cell.folder for cell in CELLS["all"]}) == len(CELLS["all"])
    assert {"table2", "table3", "table4", *(f"fig{n}" for n in range(5, 14)), "all"} == set(CELLS)


def test_figures_show_the_papers_data() -> None:
    assert {name for names in SHOWN_ON.values() for name in names} <= set(DATA)


def test_the_cells_of_section_3_are_eight() -> None:
    assert MOTIVATION_CELLS == {"table1": ATTACKS, "fig2": ("cw",)}
    assert MOTIVATION_DATA == ("mnist", "fashion-mnist5")
