"""`ferbench datasets`."""

from __future__ import annotations

import click

from ferbench.commands.options import console, json_option, print_json
from ferbench.errors import UsageError


@click.command("datasets", short_help="List the dataset cards, or show one.")
@click.argument("name", required=False)
@click.option("--bibtex", is_flag=True, help="Print only the citation of NAME, to stdout.")
@click.option("--dialects", is_flag=True, help="List the formats of `export` and `import` instead.")
@json_option
def command(name: str | None, bibtex: bool, dialects: bool, as_json: bool) -> None:
    """List the datasets that have a card, or show everything that is known about NAME.

    \b
    Example:
      ferbench datasets raf-db
    """
    from ferbench.cards import card_names, read_card
    from ferbench.jobs.datasets import dialect_rows, summary_of
    from ferbench.rendering.cards import card_tables, cards_table
    from ferbench.rendering.terminal import print_tables, summary_table

    if bibtex:
        if not name:
            raise UsageError("say whose citation: ferbench datasets NAME --bibtex")
        click.echo(read_card(name).bibtex)
    elif dialects:
        rows = dialect_rows()
        if as_json:
            print_json(rows)
        shown = {row["name"]: f"{row['title']} [{', '.join(row['variants'])}]" for row in rows}
        print_tables([summary_table("dialects [variants]", shown)], console())
    elif name:
        card = read_card(name)
        if as_json:
            print_json(card.as_dict())
        print_tables(card_tables(card), console())
    else:
        summaries = [summary_of(read_card(each)) for each in card_names()]
        if as_json:
            print_json(summaries)
        print_tables([cards_table(summaries)], console())
