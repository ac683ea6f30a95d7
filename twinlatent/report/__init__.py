"""Figures and pages made from results."""

import twinlatent.drawing  # noqa: F401  matplotlib, quietly, before any file here imports it
