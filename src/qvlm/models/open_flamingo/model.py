"""OpenFlamingo as a model of Transformers: `generate` works as with the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import CLIPVisionModel, DynamicCache, GenerationMixin, PreTrainedModel
from transformers.utils import ModelOutput

from qvlm.models.open_flamingo.config import OpenFlamingoConfig
from qvlm.models.open_flamingo.decoder import DecoderLayer, decoder_arguments
from qvlm.models.open_flamingo.layers import GatedLayer, ResamplerLayer


@dataclass
class OpenFlamingoOutput(ModelOutput):  # type: ignore[misc]  # Transformers is untyped here
    """Logits, and what the next step of a generation needs.

    Attributes:
        logits: [samples, tokens, vocabulary].
        past_key_values: keys and values of the language model.
        image_hidden_states: [samples, latents of all images, channels]; None without images.
        seen_images: [samples] int64, images up to the last token.
    """

    logits: torch.Tensor | None = None
    past_key_values: Any = None
    image_hidden_states: torch.Tensor | None = None
    seen_images: torch.Tensor | None = None


class PerceiverResampler(nn.Module):
    """Turns the patches of an image into a fixed number of latents."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        channels = config.vision_config.hidden_size
        self.latents = nn.Parameter(torch.randn(config.resampler_latents, channels))
        self.layers = nn.ModuleList(
            ResamplerLayer(channels, config.cross_heads, config.cross_head_dim)
            for _ in range(config.resampler_depth)
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """image [images, patches, channels] -> [images, latents, channels]."""
        latents = self.latents.expand(len(image), -1, -1)
        for layer in self.layers:
            latents = layer(latents, image)
        output: torch.Tensor = self.norm(latents)
        return output


class OpenFlamingoModel(nn.Module):
    """Everything but the output layer."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        text, vision = config.text_config, config.vision_config
        self.config = config
        self.vision_model = CLIPVisionModel(vision)
        self.perceiver_resampler = PerceiverResampler(config)
        self.wte = nn.Embedding(text.vocab_size, text.d_model)
        self.blocks = nn.ModuleList(DecoderLayer(text, index) for index in range(text.n_layers))
        self.gated_cross_attn_layers = nn.ModuleList(
            GatedLayer(text.d_model, vision.hidden_size, config.cross_heads, config.cross_head_dim)
            for _ in range(text.n_layers // config.cross_layer_interval)
        )
        self.norm_f = nn.LayerNorm(text.d_model, eps=text.layer_norm_epsilon, bias=False)

    def see(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Returns what the language model sees of the images.

        Args:
            pixel_values: [samples, images, 3, height, width].

        Returns:
            [samples, images * latents, channels].
        """
        images = pixel_values.flatten(0, 1).to(self.wte.weight.dtype)
        patches = self.vision_model(images).last_hidden_state[:, 1:]
        states: torch.Tensor = self.perceiver_resampler(patches)
        return states.view(len(pixel_values), -1, states.shape[-1])

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None,
        image_states: torch.Tensor | None,
        images: torch.Tensor,
        cache: Any,
    ) -> torch.Tensor:
        """Runs the language model.

        Args:
            input_ids: [samples, tokens].
            attention_mask: [samples, tokens before and now].
            image_states: of `see`.
            images: [samples, tokens] int64, images up to each token.
            cache: keys and values of the tokens before.
        """
        hidden = self.wte(input_ids)
        arguments = decoder_arguments(
            self.config.text_config, attention_mask, input_ids.shape[1], cache, hidden
        )
        visible = None if image_states is None else self._visible(image_states, images)
        every = self.config.cross_layer_interval
        for index, block in enumerate(self.blocks, start=1):
            if index % every == 0:
                gated = self.gated_cross_attn_layers[index // every - 1]
                hidden = gated(hidden, image_states=image_states, visible=visible)
            hidden = block(hidden, **arguments)
        output: torch.Tensor = self.norm_f(hidden)
        return output

    def _visible(self, image_states: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """A token sees the latents of the last image before it."""
        latents = self.config.resampler_latents
        numbers = torch.arange(image_states.shape[1], device=images.device) // latents + 1
        visible: torch.Tensor = images.unsqueeze(-1) == numbers
        return visible.unsqueeze(1)


class OpenFlamingoForConditionalGeneration(
    PreTrainedModel,  # type: ignore[misc]  # Transformers is untyped here
    GenerationMixin,  # type: ignore[misc]
):
    """OpenFlamingo with MPT's output layer, which is its embeddings."""

    config: OpenFlamingoConfig
    config_class = OpenFlamingoConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    _tied_weights_keys = {"lm_head.weight": "model.wte.weight"}  # noqa: RUF012
    _supports_sdpa = True

    def __init__(self, config: OpenFlamingoConfig) -> None:
        super().__init__(config)
        text: Any = config.text_config
        self.model = OpenFlamingoModel(config)
        self.lm_head = nn.Linear(text.d_model, text.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """The token embeddings."""
        return self.model.wte

    def get_output_embeddings(self) -> nn.Module:
        """The output layer."""
        return self.lm_head

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        image_hidden_states: torch.Tensor | None = None,
        seen_images: torch.Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        **_others: Any,
    ) -> OpenFlamingoOutput:
        """Logits of the next token.

        Args:
            input_ids: [samples, tokens], one image token per image.
            attention_mask: [samples, tokens before and now], 0 at padding.
            pixel_values: [samples, images, 3, height, width], in the order of the image tokens;
                samples with fewer images are filled up with anything.
            image_hidden_states, seen_images: of an earlier step, instead of `pixel_values`.
            past_key_values: of an earlier step.
            use_cache: whether to return keys and values.
            logits_to_keep: only of so many tokens at the end; 0 = all.
        """
        if pixel_values is not None:
            image_hidden_states = self.model.see(pixel_values)
        images = (input_ids == self.config.image_token_index).long().cumsum(dim=1)
        if seen_images is not None:
            images = images + seen_images.unsqueeze(1)
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config.text_config)
        hidden = self.model(input_ids, attention_mask, image_hidden_states, images, past_key_values)
        return OpenFlamingoOutput(
            logits=self.lm_head(hidden[:, -logits_to_keep:]),
            past_key_values=past_key_values,
            image_hidden_states=image_hidden_states,
            seen_images=images[:, -1],
        )

    def _update_model_kwargs_for_generation(
        self, outputs: Any, model_kwargs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Later steps of a generation with a cache do not look at the images again."""
        updated: dict[str, Any] = super()._update_model_kwargs_for_generation(
            outputs, model_kwargs, *args, **kwargs
        )
        if updated.get("past_key_values") is not None:
            updated["pixel_values"] = None
            updated["image_hidden_states"] = outputs.image_hidden_states
            updated["seen_images"] = outputs.seen_images
        return updated
