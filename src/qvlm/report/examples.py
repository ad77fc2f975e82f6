"""A page of questions that two models answer differently: picture, question, both answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

STYLE = """
body { font: 16px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
article { display: grid; grid-template-columns: 14rem 1fr; gap: 1rem; padding: 1rem 0;
  border-top: 1px solid #ccc }
article img { max-width: 100%; image-rendering: auto }
article p { margin: 0 0 .5rem; white-space: pre-wrap; overflow-wrap: anywhere }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem .8rem; margin: 0 }
dt { color: #555 } dd { margin: 0; overflow-wrap: anywhere }
.right { color: #146c2e } .wrong { color: #a3231f } small { color: #666 }
@media (max-width: 40rem) { article { grid-template-columns: 1fr } }
"""

TEMPLATE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>{{ style }}</style>
<h1>{{ title }}</h1>
<p>{{ summary }}</p>
{%- for example in examples %}
<article>
  <div>{% for image in example.images %}<img src="{{ image }}" alt="picture {{ loop.index }} of
    {{ example.key }}">{% else %}<small>no picture</small>{% endfor %}</div>
  <div>
    <p>{{ example.question }}</p>
    <dl>
      <dt>right</dt><dd>{{ example.expected }}</dd>
      {%- for name, text, credit in example.answers %}
      <dt>{{ name }}</dt>
      <dd class="{{ 'right' if credit == 1 else 'wrong' }}">{{ text or "(nothing)" }}
        <small>{{ credit_text(credit) }}</small></dd>
      {%- endfor %}
    </dl>
    <small>{{ example.key }}</small>
  </div>
</article>
{%- endfor %}
</html>
"""


@dataclass(frozen=True)
class Example:
    """One question with the answers of both models.

    Attributes:
        key: `split/id`.
        question: what was asked.
        images: `data:` addresses of small copies.
        expected: what is right.
        answers: name of the model, its answer and the credit for it (None = could not be read).
    """

    key: str
    question: str
    images: tuple[str, ...]
    expected: str
    answers: tuple[tuple[str, str, float | None], ...]


def examples_page(title: str, summary: str, examples: Sequence[Example]) -> str:
    """Returns one HTML file that needs no other: pictures are inside, nothing is executed."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(TEMPLATE).render(
        title=title, summary=summary, examples=examples, style=STYLE, credit_text=_credit_text
    )


def _credit_text(credit: float | None) -> str:
    if credit is None:
        return "unparsed, counts as wrong"
    if credit in (0, 1):
        return "right" if credit else "wrong"
    return f"credit {credit:.2f}"
