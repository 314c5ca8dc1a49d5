"""Vectors to families: splits, heads, their stack, runs and figures."""
