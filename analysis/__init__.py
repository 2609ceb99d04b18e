"""Run folders in, a report out."""
