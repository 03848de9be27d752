"""Object stores: a remote place is a folder of the cache that mirrors it, so that all code goes on with paths.

    places       URLs and the paths that mirror them; what is shown to people
    stores       what is asked of a store (fsspec), and its errors as one line each
    listings     what this process knows from listing one
    cache        which version the mirror holds of each object, who uses it, and the limit on its size
    looking      is it there, how large, how old
    fetching     having a file, a folder of frames, or what a run left, in the mirror
    publishing   putting what was written in the mirror into the store

Who reads a path that may be a mirror calls `ensure` before; who writes goes through `ferbench.storage`, which publishes.
"""

from ferbench.remote.fetching import (
    believe_mirror,
    ensure,
    ensure_folder,
    has_file,
    list_folder,
    list_samples,
    pull,
    pull_tree,
)
from ferbench.remote.listings import forget_listings
from ferbench.remote.looking import exists, files_in, folders_below, is_folder, look, modified, names_in
from ferbench.remote.places import Spot, cache_folder, is_url, meant, path_of, recorded, scrub, shown, spot_of, url_of
from ferbench.remote.publishing import Appended, claim, publish, unpublish

__all__ = [
    "Appended",
    "Spot",
    "believe_mirror",
    "cache_folder",
    "claim",
    "ensure",
    "ensure_folder",
    "exists",
    "files_in",
    "folders_below",
    "forget_listings",
    "has_file",
    "is_folder",
    "is_url",
    "list_folder",
    "list_samples",
    "look",
    "meant",
    "modified",
    "names_in",
    "path_of",
    "publish",
    "pull",
    "pull_tree",
    "recorded",
    "scrub",
    "shown",
    "spot_of",
    "unpublish",
    "url_of",
]
