"""Whisper (Radford et al. 2022, https://arxiv.org/abs/2212.04356): log-mel spectrograms to text."""

from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float, Int, Shaped

from mmjax.backbones.audio.spectrogram import WhisperEncoder
from mmjax.backbones.stack import as_mask
from mmjax.backbones.text.decoder import TextDecoder


class WhisperModel(nn.Module):
    """Spectrograms and token ids -> hidden states of both, and logits [B L V] of the next ids.

    Attributes:
        encoder, decoder: its parts.
    """

    encoder: WhisperEncoder
    decoder: TextDecoder

    def __call__(
        self,
        input_features: Float[Array, "B F T"],
        decoder_input_ids: Int[Array, "B L"] | None = None,
        decoder_attention_mask: Shaped[Array, "B L"] | None = None,
        decoder_position_ids: Int[Array, "b L"] | None = None,
        *,
        output_hidden_states: bool = False,
        deterministic: bool = True,
    ) -> dict[str, Any]:
        """The outputs of the encoder, and with token ids those of the decoder.

        Raises:
            UserError: too long a recording or a text.
        """
        flags = {"deterministic": deterministic}
        encoded = self.encoder(input_features, output_hidden_states=output_hidden_states, **flags)
        outputs = {f"encoder_{name}": value for name, value in encoded.items()}
        if decoder_input_ids is None:
            return outputs
        found, _ = self.decoder(
            decoder_input_ids,
            encoded["last_hidden_state"],
            as_mask(decoder_attention_mask),
            decoder_position_ids,
            **flags,
        )
        states = found.pop("hidden_states")
        if output_hidden_states:
            outputs["decoder_hidden_states"] = states
        return outputs | found
