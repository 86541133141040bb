"""Whether a folder or file may hold code that this process loads."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from ksc.errors import CacheError
from ksc.paths import PACKAGE_DIR

WRITABLE_BY_OTHERS = "KS601"


def require_trusted(path: Path, shared: Path | None = None) -> None:
    """Refuse a folder or file that somebody else could put code into.

    It and all its parents must belong to the user, to root, or to whoever owns this package (who could change
    its code anyway), and nobody else may write to them; a sticky folder such as ``/tmp`` may stand above. Raises
    CacheError.

    Args:
        path: the folder or file.
        shared: the folder of ``KSC_CACHE_PATH`` that it is part of: who names it there trusts its owner.
    """
    if sys.platform == "win32":
        return
    trusted = {0, os.geteuid(), PACKAGE_DIR.stat().st_uid}
    if shared is not None:
        trusted.add(shared.stat().st_uid)
    # Both the way that was asked for and the one that symbolic links lead to could be exchanged.
    for start in {path.absolute(), path.resolve()}:
        for place in (start, *start.parents):
            _require_private(place, trusted, is_parent=place != start)


def _require_private(place: Path, trusted: set[int], *, is_parent: bool) -> None:
    state = place.lstat()
    if stat.S_ISLNK(state.st_mode):
        if state.st_uid not in trusted:
            raise _refusal(place, f"is a link of the user with id {state.st_uid}")
        return
    if state.st_uid not in trusted:
        raise _refusal(place, f"belongs to the user with id {state.st_uid}")
    sticky = is_parent and bool(state.st_mode & stat.S_ISVTX)
    if state.st_mode & stat.S_IWOTH and not sticky:
        raise _refusal(place, "can be written by everybody")
    if state.st_mode & stat.S_IWGRP and not sticky and not _is_private_group(state.st_gid):
        raise _refusal(place, f"can be written by the group with id {state.st_gid}")


def _is_private_group(gid: int) -> bool:
    """Whether the group is root's, or holds nobody but this user, as many systems set up."""
    if gid == 0:
        return True
    import grp
    import pwd

    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return user.pw_gid == gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _refusal(place: Path, why: str) -> CacheError:
    return CacheError(
        f"the folder for compiled kernels is not safe: {place} {why}, who could put code into it",
        remedy=f"chmod go-w {place}, or set KSC_BUILD_DIR to a folder of your own",
        code=WRITABLE_BY_OTHERS,
    )
