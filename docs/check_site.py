"""See that the built site loads nothing from elsewhere: python docs/check_site.py SITE."""

import re
import sys
from pathlib import Path

# What a browser fetches by itself. Links that a reader may click are another matter.
LOADED = re.compile(
    r"<(?:script|img|iframe|source|video)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^\"'\s>]+"
    r"|<link\b[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect|icon)\b[^>]*//[^\"'\s>]+"
    r"|url\([\"']?(?:https?:)?//[^)]+",
    re.IGNORECASE,
)


def check(site: Path) -> None:
    """Look through all pages and style sheets; end with 1 if something is loaded."""
    pages = [path for path in site.rglob("*") if path.suffix in {".html", ".css"}]
    found = [
        f"{path.relative_to(site)}: {match[0]}"
        for path in pages
        for match in LOADED.finditer(path.read_text(encoding="utf-8"))
    ]
    print("\n".join(found) or f"{len(pages)} pages and style sheets load nothing from elsewhere.")
    if found or not pages:
        raise SystemExit(1)


if __name__ == "__main__":
    check(Path(sys.argv[1]))
