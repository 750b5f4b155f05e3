"""Examples in docstrings as code on the site (an extension of Griffe, which reads the docstrings for mkdocstrings)."""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"(?:^[ ]*>>> .*\n?(?:^(?![ ]*>>> ).+\n?)*)+", re.MULTILINE)


class Examples(griffe.Extension):
    """Fences every example, from its first prompt to the blank line after its last result."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of one module, class or function."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(
                lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", obj.docstring.value
            )
