"""Sentence-transformers models of a few kilobytes with random weights: for what must hold of any model."""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path

MAX_TOKENS = 16
WIDTH = 32


def build(folder: Path, *, pooling: str, prompts: Mapping[str, str] | None = None, dense: bool = False) -> Path:
    """Write a BERT of two layers, pooled as POOLING says, to FOLDER; with DENSE it gives half as many dimensions."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    torch.manual_seed(7)
    _write_bert(folder / "bert")
    modules = [Transformer(str(folder / "bert"), max_seq_length=MAX_TOKENS), Pooling(WIDTH, pooling_mode=pooling)]
    if dense:
        modules += [Dense(WIDTH, WIDTH // 2), Normalize()]
    SentenceTransformer(modules=modules, prompts=dict(prompts or {}), device="cpu").save(str(folder / "model"))
    return folder / "model"


def _write_bert(folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    letters = [*string.ascii_lowercase, *string.digits, *".,:?"]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{each}" for each in letters)]
    tokenizer = Tokenizer(models.WordPiece({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name.lower()}_token": f"[{name}]" for name in ("PAD", "UNK", "CLS", "SEP", "MASK")}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(folder)
