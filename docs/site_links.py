"""Pages outside docs/ as pages of the site, and links that fit a checkout as links between pages (a hook of mkdocs).

In a checkout, and where a git host shows it, README.md links to docs/start.md and docs/index.md to ../README.md. Both
stay as they are; the site rewrites what it copies.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

OUTSIDE = {"README.md": "overview.md", "CONTRIBUTING.md": "contributing.md", "data/README.md": "pair-sets.md"}
NAMES = {page: file for file, page in OUTSIDE.items()}
LINK = re.compile(r"(\]\()(?!\w+:|#|/)([^)#\s]+)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that lie outside docs/."""
    for name, page in OUTSIDE.items():
        text = (Path(config.config_file_path).parent / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return a page's text with every link as the site has it; one that leads nowhere there is left, and refused."""
    own = page.file.src_uri
    folder = posixpath.dirname(NAMES.get(own, f"docs/{own}"))

    def rewritten(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        return link[1] + OUTSIDE.get(target, target.removeprefix("docs/") if target.startswith("docs/") else link[2])

    return LINK.sub(rewritten, markdown)
