"""Command: a budget -> the ladder of designs that meet it -> a table, JSON, the arms of a sweep file."""
