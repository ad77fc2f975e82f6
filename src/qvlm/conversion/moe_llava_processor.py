"""LLaVA's processor with MoE-LLaVA's prompt and image settings."""

from __future__ import annotations

from typing import Any

from qvlm.conversion.moe_llava_config import strategy
from qvlm.conversion.vision_tower import VisionTower

IMAGE = "<image>"
SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
"""Vicuna's, which every published variant was trained with."""


def make_processor(tokenizer: Any, tower: VisionTower, config: dict[str, Any]) -> Any:
    """Returns a processor whose tokenizer has the image token.

    Args:
        tokenizer: of the language model.
        tower: whose image settings are used.
        config: of the source; `image_aspect_ratio: pad` makes images square before resizing.
    """
    from transformers import LlavaImageProcessorPil, LlavaProcessor

    if IMAGE not in tokenizer.get_vocab():
        tokenizer.add_tokens([IMAGE], special_tokens=True)
    return LlavaProcessor(
        image_processor=LlavaImageProcessorPil(
            **tower.images, do_pad=config.get("image_aspect_ratio") == "pad"
        ),
        tokenizer=tokenizer,
        patch_size=tower.config.patch_size,
        vision_feature_select_strategy=strategy(config),
        num_additional_image_tokens=1,
        chat_template=_template(tokenizer.eos_token or ""),
    )


def _template(end: str) -> str:
    return (
        f"{SYSTEM} "
        "{% for message in messages %}{% if message['role'] == 'user' %}{{ 'USER: ' }}"
        "{% for part in message['content'] if part['type'] == 'image' %}"
        "{{ '<image>\\n' }}{% endfor %}{% else %}{{ 'ASSISTANT: ' }}{% endif %}"
        "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}"
        "{% endfor %}{% if message['role'] == 'user' %}{{ ' ' }}{% else %}"
        "{{ '" + end + "' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
    )
