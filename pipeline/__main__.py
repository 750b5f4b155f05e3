"""python -m pipeline VERB, the same as siamese-pairs VERB."""

import sys

from pipeline.cli import entry

sys.exit(entry())
