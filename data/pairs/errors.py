"""Errors that a user can mend."""

from collections.abc import Iterable


class UserError(Exception):
    """A title and every problem of one kind, one line each; the command line prints it and exits 2."""

    def __init__(self, title: str, problems: Iterable[str] = ()) -> None:
        self.title = title
        self.problems = tuple(problems)
        super().__init__(str(self))

    def __str__(self) -> str:
        return "\n".join([self.title, *(f"  {problem}" for problem in self.problems)])
