"""Codecs: between what the caller has (frames, pixels, tokens, texts, series, names of classes) and float32 points."""
