"""What the paper's tables and figures are made of: which detectors or attacks, on which data sets."""

from dataclasses import dataclass

OURS = "twinlatent"
DATA = ("mnist", "fashion-mnist5", "cats-dogs")
MOTIVATION_CELLS = {"table1": ("fgsm", "pgd", "mim", "cw"), "fig2": ("cw",)}
"""The attacks of each, of section 3."""
MOTIVATION_DATA = DATA[:2]


@dataclass(frozen=True)
class Cell:
    """One column of a table: a method and what it is trained with."""

    method: str
    attack: str

    @property
    def folder(self) -> str:
        """Where it lies below the data set's folder."""
        return f"{self.method}-{self.attack}"


_OURS = (Cell(OURS, "mim"), Cell(OURS, "cw"))
_GONG = (Cell("gong", "mim"), Cell("gong", "cw"))
_PLAIN, _RCE = Cell("plain", "none"), Cell("rce", "none")
_ALL = (*_OURS, _PLAIN, *_GONG, _RCE, Cell("adversarial-training", "pgd"), Cell("gat", "pgd"))
_COMPARED = tuple(cell for cell in _ALL if cell != _PLAIN)
CELLS: dict[str, tuple[Cell, ...]] = {
    "table2": (*_OURS, _PLAIN),
    "table3": (*_OURS, *_GONG),
    "table4": _COMPARED,
    "fig5": _OURS[:1],
    **dict.fromkeys(("fig6", "fig12"), _OURS),
    **dict.fromkeys(("fig7", "fig9", "fig10", "fig11"), _OURS[:1]),
    "fig8": (_OURS[0], _GONG[0], _RCE),
    "fig13": _COMPARED,
    "all": _ALL,
}
"""What each table or figure is made of."""
SHOWN_ON = {"fig6": DATA[:2], "fig10": DATA[1:2], **dict.fromkeys(("fig5", "fig9"), DATA[:1]),
            **dict.fromkeys(("fig11", "fig12"), DATA[2:])}  # fmt: skip
"""Data sets of the paper's figures that do not show all three."""
BLACK_BOX_ONLY = frozenset({"table2", "table3"})
