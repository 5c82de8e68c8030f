"""The fenced blocks of a Markdown page."""


def blocks(text):
    """Yield the language, the first line's number and the text of each fenced block."""
    language, begun, kept = None, 0, []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.startswith("```"):
            kept.append(line)
        elif language is None:
            language, begun, kept = line.removeprefix("```").strip(), number + 1, []
        else:
            yield language, begun, "\n".join(kept) + "\n"
            language = None
