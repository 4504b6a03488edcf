"""Entries of settings files: those that are read, those that change no number, and no others."""

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from mmjax.errors import UserError

# tokenizer_config.json and special_tokens_map.json, what of them is read.
TOKENIZER_READ = {
    *("tokenizer_class", "model_input_names", "model_max_length", "padding_side"),
    *("truncation_side", "added_tokens_decoder", "additional_special_tokens"),
    *("extra_special_tokens", "model_specific_special_tokens"),
    *("bos_token", "cls_token", "eos_token", "mask_token", "pad_token", "sep_token", "unk_token"),
    *("do_lower_case", "strip_accents", "tokenize_chinese_chars", "do_basic_tokenize"),
    *("never_split", "add_prefix_space", "add_bos_token", "add_eos_token"),
    *("language", "task", "predict_timestamps"),
}
# What transformers itself reads of them for nothing, for what it decodes, or for chats alone; the
# arguments of a call (max_length, padding, ...) are kept there by saving, and not read again.
TOKENIZER_SILENT = {
    *("name_or_path", "special_tokens_map_file", "tokenizer_file", "vocab_file", "merges_file"),
    *("processor_class", "auto_map", "backend", "is_local", "local_files_only", "use_fast"),
    *("clean_up_tokenization_spaces", "spaces_between_special_tokens", "chat_template"),
    *("errors", "legacy", "sp_model_kwargs", "use_default_system_prompt", "trim_offsets"),
    *("max_length", "max_len", "pad_to_multiple_of", "pad_token_type_id", "padding", "stride"),
    *("truncation", "truncation_strategy", "return_attention_mask", "return_tensors"),
    *("from_slow", "keep_accents", "remove_space", "normalization", "normalizer_file"),
    *("dropout", "extra_ids", "init_inputs", "full_tokenizer_file", "tokenizer_type", "model_type"),
    *("bos_token_id", "cls_token_id", "eos_token_id", "mask_token_id", "pad_token_id"),
    *("sep_token_id", "unk_token_id", "_commit_hash", "revision", "trust_remote_code"),
    *("wordpieces_prefix", "clean_text", "do_normalize", "image_token"),
}
# config_sentence_transformers.json.
SENTENCES_READ = {"prompts", "default_prompt_name", "model_type"}
SENTENCES_SILENT = {"__version__", "similarity_fn_name"}
# sentence_bert_config.json and its kin.
TRANSFORMER_READ = {"max_seq_length", "do_lower_case"}
TRANSFORMER_SILENT = {"unpad_inputs"}
# What the entries of a table of arguments may be without changing a number.
ARGUMENTS_SILENT = {
    *("trust_remote_code", "torch_dtype", "dtype", "attn_implementation", "use_fast", "revision"),
    *("cache_dir", "device_map", "local_files_only", "low_cpu_mem_usage", "use_cache"),
}
# The tokenizer_kwargs of open_clip_config.json.
OPEN_CLIP_READ = {"clean", "strip_sep_token"}
# A pretrained_cfg of timm: what its evaluation reads, and what says where a model comes from, how
# else it was tested, or what its classes are.
TIMM_READ = {"input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std"}
TIMM_SILENT = {
    *("url", "file", "state_dict", "hf_hub_id", "hf_hub_filename", "source", "architecture", "tag"),
    *("custom_load", "test_input_size", "min_input_size", "fixed_input_size", "test_crop_pct"),
    *("num_classes", "label_offset", "label_names", "label_descriptions", "pool_size"),
    *("test_pool_size", "first_conv", "classifier", "license", "description", "origin_url"),
    *(
        "paper_name",
        "paper_ids",
        "notes",
        "num_features",
        "global_pool",
        "model_args",
        "pretrained",
    ),
}


def refuse_unknown(
    values: Mapping[str, Any], read: Collection[str], silent: Collection[str], where: str
) -> None:
    """Raises UserError for an entry that is neither read nor known to change no number.

    Args:
        values: of a settings file; what is null is not set.
        read, silent: the two lists.
        where: of the values, for the message.
    """
    known = {*read, *silent}
    for key, value in values.items():
        if value is None or key in known:
            continue
        near = difflib.get_close_matches(key, sorted(known), 1)
        meant = f" (is it {near[0]!r}?)" if near else ""
        raise UserError(
            f"{where}: unknown entry {key!r}{meant} with the value {value!r:.60} may change the"
            " numbers: remove it if it does not"
        )


def refuse_others(values: Mapping[str, Any], only: Mapping[str, Any], where: str) -> None:
    """Raises UserError for an entry that is not null and has another value than `only` says."""
    for key, value in only.items():
        if values.get(key) not in (None, value):
            raise UserError(
                f"{where}: {key}={values[key]!r:.100}: mmjax runs such models with {value!r} only"
            )
