"""A small tokenizer of the kind that Gemma and SigLIP 2 have."""

import json

import tokenizers


def write(folder, texts, size):
    """tokenizer.json: a BPE that spells unknown words by bytes, trained on texts; it adds <eos>."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    special += [f"<0x{byte:02X}>" for byte in range(256)]
    made = tokenizers.Tokenizer(
        tokenizers.models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    made.normalizer = tokenizers.normalizers.Replace(" ", "▁")
    made.pre_tokenizer = tokenizers.pre_tokenizers.Split(" ", "merged_with_previous")
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, show_progress=False
    )
    made.train_from_iterator(texts, trainer)
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single=["$A", "<eos>"], special_tokens=[("<eos>", 1)]
    )
    data = json.loads(made.to_str())
    data["added_tokens"] = data["added_tokens"][:5]
    (folder / "tokenizer.json").write_text(json.dumps(data))
