"""How figures are drawn, and those that need nothing but arrays: curves, scores, images."""

import logging


def _import_quietly() -> None:
    """Import matplotlib without its words about a home it cannot write to: it then finds itself another place."""
    logger = logging.getLogger("matplotlib")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        import matplotlib.font_manager  # noqa: F401
    finally:
        logger.setLevel(level)


_import_quietly()
