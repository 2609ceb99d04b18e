"""Cardinality against width and depth, at one budget: designs in, run folders out."""
