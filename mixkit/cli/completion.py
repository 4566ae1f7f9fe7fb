"""`mixkit completion`: the script that makes a shell complete our commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from mixkit.cli.output import Output
from mixkit.cli.session import Session, json_option, pass_session

__all__ = ["completion"]


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
@pass_session
def completion(session: Session, shell: str) -> None:
    """Print the script that completes commands in SHELL.

    \b
    bash: eval "$(mixkit completion bash)"       in ~/.bashrc
    zsh:  eval "$(mixkit completion zsh)"        in ~/.zshrc
    fish: mixkit completion fish | source        in ~/.config/fish/config.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(click.get_current_context().find_root().command, {}, "mixkit", "_MIXKIT_COMPLETE").source()
    if session.as_json:
        Output().document({"shell": shell, "script": script})
    else:
        click.echo(script)
