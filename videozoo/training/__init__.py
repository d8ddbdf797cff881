"""Training and evaluation of named models on labeled videos, from settings to results: `finetune` and `evaluate`."""
