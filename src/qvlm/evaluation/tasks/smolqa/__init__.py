"""SmolQA: see README.md beside this file."""
