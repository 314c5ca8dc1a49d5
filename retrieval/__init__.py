"""Vectors to neighbours: indexes, look-alike search, galleries."""
