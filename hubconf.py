"""torch.hub door: every registered architecture is an entry point."""

dependencies = ["torch", "torchvision", "timm", "safetensors", "huggingface_hub", "numpy", "tqdm"]

from videozoo.models import list_models, model_entrypoint  # noqa: E402

globals().update({name: model_entrypoint(name) for name in list_models()})
