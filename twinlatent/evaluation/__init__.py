"""Judging detectors: metrics, records, black-box attacks."""
