"""Scores of synthetic pair sets, and the tables, figures and report made from all results."""
