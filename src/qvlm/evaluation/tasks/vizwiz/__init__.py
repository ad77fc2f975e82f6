"""VizWiz: see README.md beside this file."""
