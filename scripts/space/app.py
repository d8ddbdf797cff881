"""A Space of Hugging Face in one file; docs/demo.md has its two other files."""

from videozoo.demo import launch

# hf-hub:ORGANIZATION/NAME, names of `videozoo list --pretrained`; these two travel with the package.
MODELS = ["test_arc_tsm", "test_dnr_tsn"]

if __name__ == "__main__":
    launch(MODELS, host="0.0.0.0")
