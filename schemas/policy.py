"""How a window is kept small: the closed set of policies, in the shape that users write them."""

from typing import Annotated

from msgspec import Meta, Struct

from schemas.limits import (
    LAST_N_LIMIT_DEFAULT,
    POLICY_LIMIT_MAX,
    SKIP_KIND_CHARS_MAX,
    SKIP_KINDS_MAX,
)

Limit = Annotated[int, Meta(ge=1, le=POLICY_LIMIT_MAX)]
Prefix = Annotated[str, Meta(min_length=1, max_length=SKIP_KIND_CHARS_MAX)]
Prefixes = Annotated[tuple[Prefix, ...], Meta(max_length=SKIP_KINDS_MAX)]


class LastNConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """`limit`: how many of the latest messages stay."""

    limit: Limit


class SkipPartsConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """`skip_kinds`: prefixes of part types that are dropped; `limit`: as in `last_n`, if given."""

    skip_kinds: Prefixes = ("tool", "reasoning", "image")
    limit: Limit | None = None


class ManualConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing to set: `manual` never drops anything by itself."""


class LastN(Struct, frozen=True, tag_field="strategy", tag="last_n", forbid_unknown_fields=True):
    """Keep the latest n messages, then drop the oldest until the budget holds."""

    config: LastNConfig


class SkipParts(
    Struct, frozen=True, tag_field="strategy", tag="skip_parts", forbid_unknown_fields=True
):
    """Drop parts of some kinds, then do what `last_n` does."""

    config: SkipPartsConfig = SkipPartsConfig()


class Manual(Struct, frozen=True, tag_field="strategy", tag="manual", forbid_unknown_fields=True):
    """Keep everything; only say that compaction is needed."""

    config: ManualConfig = ManualConfig()


Policy = LastN | SkipParts | Manual

POLICY_DEFAULT = LastN(LastNConfig(LAST_N_LIMIT_DEFAULT))
