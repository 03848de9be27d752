"""What this process knows of a store from listing it, so that a plan over a million samples asks once.

A listing is of its moment: it serves deciding what is to be done, and is forgotten before the work begins. Reading never
relies on one.
"""

from __future__ import annotations

from collections.abc import Mapping

from ferbench.remote.places import Spot
from ferbench.remote.stores import Facts


class Listing:
    """The objects below a prefix, by folder."""

    def __init__(self, found: Mapping[str, Facts]) -> None:
        self._folders: dict[str, dict[str, Facts | None]] = {"": {}}
        for name, facts in found.items():
            folder, _, base = name.rpartition("/")
            self._folder(folder)[base] = facts

    def _folder(self, name: str) -> dict[str, Facts | None]:
        if name not in self._folders:
            self._folders[name] = {}
            parent, _, base = name.rpartition("/")
            self._folder(parent).setdefault(base, None)
        return self._folders[name]

    def children(self, folder: str) -> dict[str, Facts | None]:
        """Names in a folder ("" is the prefix): facts of files, None of folders. {} where there is none."""
        return self._folders.get(folder, {})

    def facts(self, name: str) -> Facts | None:
        """Of a file or a folder; None when neither is there."""
        folder, _, base = name.rpartition("/")
        found = self.children(folder).get(base)
        if found is None and self._folders.get(name):
            sizes = [facts for facts in self._folders[name].values() if facts is not None]
            return Facts(0, max((facts.modified for facts in sizes), default=0.0), "", is_folder=True)
        return found


_listings: dict[str, Listing] = {}
"""URL of a prefix -> what lies below it."""


def remember(spot: Spot, found: Mapping[str, Facts]) -> Listing:
    """Keep what a listing said, until `forget_listings`."""
    _listings[spot.url] = Listing(found)
    return _listings[spot.url]


def listing_of(spot: Spot) -> tuple[Listing, str] | None:
    """A listing that covers a place, and the place's name in it."""
    for url, listing in _listings.items():
        if spot.url == url:
            return listing, ""
        if spot.url.startswith(f"{url}/"):
            return listing, spot.url[len(url) + 1 :]
    return None


def forget_listings() -> None:
    """The work begins: what is asked from now on is asked of the store."""
    _listings.clear()
