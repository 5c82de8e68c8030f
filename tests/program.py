"""The commands of ``lossgap`` as typer has them, for tests that look at all of them."""

import typer
from typer.main import get_command

from lossgap.commands import app


def commands(command, path=()):
    """Yield the words and the command of each command that does something."""
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from commands(child, (*path, name))


def check_arguments(arguments):
    """Parse arguments as the program would, and run no command; help and the like may be shown."""
    try:
        _parse(get_command(app), "lossgap", arguments)
    except (typer.Exit, SystemExit) as done:
        assert not getattr(done, "exit_code", getattr(done, "code", 0))  # noqa: PT017


def _parse(command, name, arguments, parent=None):
    context = command.make_context(name, list(arguments), parent=parent)
    if hasattr(command, "commands"):
        rest = [*getattr(context, "_protected_args", []), *context.args]
        name, command, rest = command.resolve_command(context, rest)
        _parse(command, name, rest, context)
