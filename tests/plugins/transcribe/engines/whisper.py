"""A Whisper model of nothing: random weights, minimal dimensions, and everything that a real one has beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

WIDTH = 16
HEADS = 2
MELS = 80
FRAMES = 1500  # of the encoder: 30 s
TOKENS = 448  # of the decoder, at most
SPECIAL = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
]
TIMES = [f"<|{time / 50:.2f}|>" for time in range(1501)]
WORDS = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"]


def make_model(directory: Path, seed: int = 7) -> Path:
    """Write one, for English alone. What it hears is nonsense, and always the same."""
    import numpy as np
    from ctranslate2.specs import WhisperSpec
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = letters + [f"\N{LATIN CAPITAL LETTER G WITH DOT ABOVE}{word}" for word in WORDS]
    vocabulary = plain + SPECIAL + TIMES
    random = np.random.default_rng(seed)

    def weights(*shape: int) -> Any:
        return random.normal(0, 0.3, shape).astype(np.float32)

    def linear(layer: Any, rows: int, columns: int) -> None:
        layer.weight, layer.bias = weights(rows, columns), weights(rows)

    def norm(layer: Any) -> None:
        layer.gamma, layer.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)

    spec = WhisperSpec(1, HEADS, 1, HEADS)
    encoder, decoder = spec.encoder, spec.decoder
    encoder.conv1.weight, encoder.conv1.bias = weights(WIDTH, MELS, 3), weights(WIDTH)
    encoder.conv2.weight, encoder.conv2.bias = weights(WIDTH, WIDTH, 3), weights(WIDTH)
    encoder.position_encodings.encodings = weights(FRAMES, WIDTH)
    decoder.position_encodings.encodings = weights(TOKENS, WIDTH)
    decoder.embeddings.weight = weights(len(vocabulary), WIDTH)
    decoder.projection.weight = weights(len(vocabulary), WIDTH)
    likely = np.zeros(len(vocabulary), np.float32)
    likely[: len(letters)] = -50  # words, and no letters
    likely[vocabulary.index("<|endoftext|>")] = -1.5  # a few words, and not the end at once
    likely[vocabulary.index("<|nospeech|>")] = -50
    likely[-len(TIMES) :] = -4  # or they would be all that it says
    decoder.projection.bias = likely
    for part in (encoder, decoder):
        norm(part.layer_norm)
        for layer in part.layer:
            norm(layer.self_attention.layer_norm)
            linear(layer.self_attention.linear[0], 3 * WIDTH, WIDTH)
            linear(layer.self_attention.linear[1], WIDTH, WIDTH)
            norm(layer.ffn.layer_norm)
            linear(layer.ffn.linear_0, 4 * WIDTH, WIDTH)
            linear(layer.ffn.linear_1, WIDTH, 4 * WIDTH)
    for layer in decoder.layer:
        norm(layer.attention.layer_norm)
        linear(layer.attention.linear[0], WIDTH, WIDTH)
        linear(layer.attention.linear[1], 2 * WIDTH, WIDTH)
        linear(layer.attention.linear[2], WIDTH, WIDTH)
    spec.register_vocabulary(vocabulary)
    spec.config.alignment_heads = [(0, head) for head in range(HEADS)]
    spec.config.lang_ids = []
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = []
    spec.validate()
    spec.optimize()
    directory.mkdir()
    spec.save(str(directory))

    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(plain)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer.add_tokens([AddedToken(token, special=False) for token in TIMES])
    tokenizer.save(str(directory / "tokenizer.json"))
    features = {"feature_size": MELS, "sampling_rate": 16000, "hop_length": 160, "chunk_length": 30, "n_fft": 400}
    (directory / "preprocessor_config.json").write_text(json.dumps(features))
    return directory
