"""Command: what runs, waits, failed, remains."""
