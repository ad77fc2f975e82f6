"""Exact match: see README.md beside this file."""
