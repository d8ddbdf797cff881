"""Training and evaluation of named models on labelled videos, from settings to results: `finetune` and `evaluate`."""
