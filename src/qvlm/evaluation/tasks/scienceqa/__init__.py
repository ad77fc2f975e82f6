"""ScienceQA: see README.md beside this file."""
