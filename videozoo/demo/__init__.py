"""A page that classifies dropped videos and shows what the model saw.

Needs gradio (the extra ``demo``).
"""

from videozoo.demo.models import ModelPool
from videozoo.demo.page import build_page
from videozoo.demo.server import launch
from videozoo.demo.settings import DemoError, Limits

__all__ = ["DemoError", "Limits", "ModelPool", "build_page", "launch"]
