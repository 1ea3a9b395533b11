"""Transformers architectures in configurations small enough to run anywhere; random weights, nothing is downloaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_TEXT = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
_DECODER = {**_TEXT, "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0}
_IMAGE = {"image_size": 32, "patch_size": 8, "num_channels": 3}
_VISION = {**_IMAGE, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
_SEQ2SEQ = {
    "vocab_size": 99, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 37, "decoder_ffn_dim": 37, "max_position_embeddings": 64,
    "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip
_STAGES = {"num_channels": 3, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}

_GPT2 = {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
_SPEECH = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37, "vocab_size": 32,
    "conv_dim": [16, 16], "conv_kernel": [8, 4], "conv_stride": [4, 2], "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip

MODELS: dict[str, tuple[str, dict[str, Any], str]] = {
    "albert": ("AlbertModel", {**_TEXT, "embedding_size": 16}, "text"),
    "bart": ("BartModel", _SEQ2SEQ, "text"),
    "beit": ("BeitModel", _VISION, "image"),
    "bert": ("BertModel", _TEXT, "text"),
    "bert_masked_lm": ("BertForMaskedLM", _TEXT, "text"),
    "bloom": ("BloomModel", {"vocab_size": 99, "hidden_size": 32, "n_layer": 2, "n_head": 4}, "text"),
    "clip_text": ("CLIPTextModel", {**_TEXT, "max_position_embeddings": 64}, "text"),
    "clip_vision": ("CLIPVisionModel", _VISION, "image"),
    "convnext": ("ConvNextModel", _STAGES, "image"),
    "convnextv2": ("ConvNextV2Model", _STAGES, "image"),
    "data2vec_text": ("Data2VecTextModel", {**_TEXT, "pad_token_id": 1, "max_position_embeddings": 64}, "text"),
    "deberta_v2": ("DebertaV2Model", {**_TEXT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}, "text"),
    "deit": ("DeiTModel", _VISION, "image"),
    "dinov2": ("Dinov2Model", {**_VISION, "mlp_ratio": 2}, "image"),
    "dinov3": ("DINOv3ViTModel", _VISION, "image"),
    "distilbert": (
        "DistilBertModel",
        {"vocab_size": 99, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 37},
        "text",
    ),
    "electra": ("ElectraModel", {**_TEXT, "embedding_size": 16}, "text"),
    "falcon": ("FalconModel", {**_DECODER, "bos_token_id": 1, "eos_token_id": 2}, "text"),
    "gemma": ("GemmaModel", {**_DECODER, "head_dim": 8}, "text"),
    "gemma2": ("Gemma2Model", {**_DECODER, "head_dim": 8}, "text"),
    "gpt2": ("GPT2Model", _GPT2, "text"),
    "gpt2_lm": ("GPT2LMHeadModel", _GPT2, "text"),
    "gpt_neo": (
        "GPTNeoModel",
        {
            "vocab_size": 99,
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
        },
        "text",
    ),
    "gpt_neox": ("GPTNeoXModel", {**_TEXT, "max_position_embeddings": 64}, "text"),
    "hubert": ("HubertModel", _SPEECH, "audio"),
    "llama": ("LlamaModel", _DECODER, "text"),
    "mamba": ("MambaModel", {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}, "text"),
    "mistral": ("MistralModel", {**_DECODER, "sliding_window": 16}, "text"),
    "mixtral": ("MixtralModel", {**_DECODER, "intermediate_size": 64, "num_local_experts": 4}, "text"),
    "mobilevit": (
        "MobileViTModel",
        {"image_size": 64, "hidden_sizes": [32, 40, 48], "neck_hidden_sizes": [8, 16, 16, 24, 32, 40, 80]},
        "image64",
    ),
    "mpnet": ("MPNetModel", _TEXT, "text"),
    "opt": (
        "OPTModel",
        {
            "vocab_size": 99,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "ffn_dim": 37,
            "max_position_embeddings": 64,
            "word_embed_proj_dim": 32,
        },
        "text",
    ),
    "phi": ("PhiModel", _DECODER, "text"),
    "phi3": ("Phi3Model", {**_DECODER, "bos_token_id": 1, "eos_token_id": 2}, "text"),
    "qwen2": ("Qwen2Model", _DECODER, "text"),
    "qwen3": ("Qwen3Model", {**_DECODER, "head_dim": 8}, "text"),
    "regnet": (
        "RegNetModel",
        {"embedding_size": 16, "hidden_sizes": [16, 24, 32, 40], "depths": [1, 1, 1, 1], "groups_width": 8},
        "image",
    ),
    "resnet": (
        "ResNetModel",
        {"embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]},
        "image",
    ),
    "roberta": ("RobertaModel", {**_TEXT, "pad_token_id": 1, "max_position_embeddings": 64}, "text"),
    "segformer": (
        "SegformerModel",
        {"hidden_sizes": [16, 16, 32, 32], "num_attention_heads": [1, 1, 2, 2], "depths": [1, 1, 1, 1]},
        "image64",
    ),
    "siglip_vision": ("SiglipVisionModel", _VISION, "image"),
    "squeezebert": ("SqueezeBertModel", {**_TEXT, "embedding_size": 32, "intermediate_size": 36}, "text"),
    "swin": (
        "SwinModel",
        {**_IMAGE, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2, "patch_size": 4},
        "image",
    ),
    "t5_encoder": (
        "T5EncoderModel",
        {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4},
        "text",
    ),
    "t5": (
        "T5Model",
        {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4},
        "seq2seq",
    ),
    "vit": ("ViTModel", _VISION, "image"),
    "vit_mae": ("ViTMAEModel", _VISION, "image"),
    "wav2vec2": ("Wav2Vec2Model", _SPEECH, "audio"),
    "whisper_encoder": (
        "WhisperModel",
        {**_SEQ2SEQ, "num_mel_bins": 8, "max_source_positions": 20, "max_target_positions": 20},
        "speech2text",
    ),
    "xlm_roberta": ("XLMRobertaModel", {**_TEXT, "pad_token_id": 1, "max_position_embeddings": 64}, "text"),
    "yolos": ("YolosModel", {**_VISION, "image_size": [32, 32], "num_detection_tokens": 4}, "image"),
}
"""Each architecture: the model's class, what its configuration changes, and the kind of input."""


def load_classes() -> None:
    """Imports the code of every model, which takes longer than all else."""
    import transformers

    for class_name, _, _ in MODELS.values():
        getattr(transformers, class_name)


def build(name: str) -> torch.nn.Module:
    """Makes the model of that name."""
    import transformers

    class_name, options, _ = MODELS[name]
    model_class = getattr(transformers, class_name)
    return model_class(model_class.config_class(**options))


def inputs(name: str, batch: int, length: int = 10) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns positional and keyword inputs for the model of that name."""
    return (), _INPUTS[MODELS[name][2]](batch, length)


def _ids(batch: int, length: int) -> torch.Tensor:
    return torch.randint(3, 90, (batch, length))


_INPUTS: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "audio": lambda batch, _: {"input_values": torch.randn(batch, 400)},
    "image": lambda batch, _: {"pixel_values": torch.randn(batch, 3, 32, 32)},
    "image64": lambda batch, _: {"pixel_values": torch.randn(batch, 3, 64, 64)},
    "seq2seq": lambda batch, length: {"input_ids": _ids(batch, length), "decoder_input_ids": _ids(batch, length)},
    "speech2text": lambda batch, length: {
        "input_features": torch.randn(batch, 8, 40),
        "decoder_input_ids": _ids(batch, length),
    },
    "text": lambda batch, length: {
        "input_ids": _ids(batch, length),
        "attention_mask": torch.ones(batch, length, dtype=torch.long),
    },
}
