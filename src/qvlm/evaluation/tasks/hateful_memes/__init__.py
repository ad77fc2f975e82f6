"""Hateful Memes: see README.md beside this file."""
