"""smol-llava: a LLaVA around a real pretrained language model; how it is trained and built."""

from __future__ import annotations

NAME = "smol-llava"
