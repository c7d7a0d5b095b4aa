"""What may be deleted: decided from what is asked for and what the platform file declares, before anything is read."""

from rollback.cache.patterns import covers_all, overlap, within
from rollback.cache.settings import Cache
from rollback.errors import PatternRefused
from rollback.models import Model


class Asked(Model):
    """What an operator asks for."""

    patterns: tuple[str, ...] = ()
    """None: the platform file's."""
    everything: bool = False
    explicitly: tuple[str, ...] = ()
    """What is refused unless it is named here: see `choose`."""
    restart: bool = True


class Decided(Model):
    """What is deleted, and what never is."""

    everything: bool
    patterns: tuple[str, ...]
    guards: tuple[str, ...]
    """Keys of these are kept, whatever pattern matches them."""
    revocations: tuple[str, ...]
    """Lists of revoked tokens that are deleted."""


def choose(settings: Cache, asked: Asked) -> Decided:
    """Decide; raises `PatternRefused` with what would have to be named.

    A pattern that is every key, or that reaches what is declared as protected, as a revocation list or as another
    application's, has to be named in `explicitly`; then it is used, and what is declared is kept from it all the same,
    but for revocation lists and other applications' patterns that are named there themselves. A pattern that lies
    within a declared one goes where that one is named.
    """
    if asked.everything and asked.patterns:
        raise PatternRefused("Either all keys or patterns can be asked for, not both.", remedy="Leave one out.")
    patterns = () if asked.everything else asked.patterns or settings.patterns
    if not (patterns or asked.everything):
        raise PatternRefused(
            "Nothing says which keys are to be deleted.",
            remedy="Give patterns, or set a default in the platform file's [cache] patterns.",
        )
    _require_known(settings, asked, patterns)
    for pattern in patterns:
        _check(settings, asked, pattern)
    if asked.everything:
        _check_everything(settings, asked)
    reached = [
        each
        for each in settings.revocations
        if each in asked.explicitly and (asked.everything or any(overlap(each, pattern) for pattern in patterns))
    ]
    return Decided(
        everything=asked.everything,
        patterns=tuple(dict.fromkeys(patterns)),
        guards=tuple(each for name, each in settings.guards if name == "protected" or each not in asked.explicitly),
        revocations=tuple(reached),
    )


def _require_known(settings: Cache, asked: Asked, patterns: tuple[str, ...]) -> None:
    """What is named explicitly must be something that is asked for, or declared: else it is a slip."""
    for name in asked.explicitly:
        if name in settings.protected:
            raise PatternRefused(
                f"'{name}' is protected: its keys are never deleted.",
                remedy="If they may go, take it out of the platform file's [cache] protected.",
            )
        declared = (*settings.revocations, *settings.others)
        if name not in (*declared, *patterns) and not (asked.everything and _is_database(name)):
            raise PatternRefused(
                f"'{name}' is named explicitly, and is neither asked for nor declared.",
                remedy=f"Name it exactly as it is written: {', '.join(declared) or 'the platform file declares none'}.",
            )


def _is_database(name: str) -> bool:
    return name.startswith("db") and name[2:].isdigit()


def _check(settings: Cache, asked: Asked, pattern: str) -> None:
    if not pattern.strip():
        raise PatternRefused("An empty pattern matches no key.", remedy="Say which keys are meant.")
    if pattern in settings.protected:
        raise PatternRefused(
            f"'{pattern}' is protected: its keys are never deleted.",
            remedy="If they may go, take it out of the platform file's [cache] protected.",
        )
    _require_something_left(settings, asked, pattern)
    if pattern in asked.explicitly:
        return
    remedy = f"Take a narrower one, or name it explicitly (--explicitly '{pattern}')"
    if covers_all(pattern):
        raise PatternRefused(
            f"'{pattern}' is every key, or nearly.", remedy=f"{remedy}: what is declared is kept all the same."
        )
    for name, declared in settings.guards:
        if pattern == declared:
            raise PatternRefused(
                f"'{pattern}' is one of {_WORDS[name]}.",
                remedy=f"It has to be named explicitly, too: --explicitly '{pattern}'.",
            )
        if overlap(pattern, declared) and not (declared in asked.explicitly and within(pattern, declared)):
            raise PatternRefused(
                f"'{pattern}' reaches '{declared}', one of {_WORDS[name]}.",
                remedy=f"{remedy}: keys of '{declared}' are kept all the same.",
            )


def _require_something_left(settings: Cache, asked: Asked, pattern: str) -> None:
    """Refuse a pattern all of whose keys would be kept: it would delete nothing, whatever is named."""
    for name, declared in settings.guards:
        if declared in (pattern, *asked.explicitly) or not within(pattern, declared):
            continue
        take_out = f"If they may go, take '{declared}' out of the platform file's [cache] protected."
        raise PatternRefused(
            f"'{pattern}' lies within '{declared}', one of {_WORDS[name]}: its keys are kept.",
            remedy=take_out if name == "protected" else f"Name the whole: --explicitly '{declared}'.",
        )


_WORDS = {
    "protected": "the protected queues",
    "revocations": "the lists of revoked tokens, which would become valid again",
    "others": "the patterns of other applications",
}


def _check_everything(settings: Cache, asked: Asked) -> None:
    missing = [each for each in (*settings.revocations, *settings.others) if each not in asked.explicitly]
    if missing:
        named = " ".join(f"--explicitly '{each}'" for each in missing)
        raise PatternRefused(
            f"All keys are also those of {', '.join(missing)}: revoked tokens, or other applications.",
            remedy=f"Name each of them ({named}), or give patterns.",
        )
