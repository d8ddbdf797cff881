"""Publish a model on the Hugging Face Hub: its card, the folder that is sent and the push."""

from videozoo.publish.card import render_card
from videozoo.publish.folder import prepare_folder
from videozoo.publish.push import Pushed, publish_folder, push_to_hub
from videozoo.publish.run_source import Source, find_source

__all__ = ["Pushed", "Source", "find_source", "prepare_folder", "publish_folder", "push_to_hub", "render_card"]
