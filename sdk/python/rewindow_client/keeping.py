"""What a foreign JSON object says beyond what can be made of a message's parts, so that it comes
back as it was.

It stands in the message's metadata, as what turns the one into the other: `is`, a value; `fields`,
by name, null for one that has to go; `items`, by place. It holds as long as all parts are there: a
policy may have taken some out of what a window shows.
"""

from typing import Any, Final

from rewindow_client.shapes import Json

ABSENT: Final[Any] = object()


def kept(parts: list[Json], made: Json, said: Json) -> Json:
    """What to keep beside `parts`, so that `said` comes of `made`; nothing where it does anyway."""
    more = _difference(made, said)
    return {} if more is None else {"parts": len(parts), "more": more}


def given_back(parts: list[Json], made: Json, found: Any) -> Json:
    """What was said, or what is made of the parts where what was kept is not for them."""
    if not isinstance(found, dict) or found.get("parts") != len(parts):
        return made
    # Anybody may have written the metadata.
    try:
        said = _applied(made, found["more"])
    except (LookupError, TypeError, ValueError, AttributeError):
        return made
    return said if isinstance(said, dict) else made


def _difference(made: Any, said: Any) -> Json | None:
    if made == said:
        return None
    if isinstance(made, dict) and isinstance(said, dict):
        return {"fields": _fields(made, said)}
    if isinstance(made, list) and isinstance(said, list) and len(made) == len(said):
        pairs = enumerate(zip(made, said, strict=True))
        found = {str(place): _difference(*pair) for place, pair in pairs}
        return {"items": {place: one for place, one in found.items() if one is not None}}
    return {"is": said}


def _fields(made: Json, said: Json) -> Json:
    fields: Json = {name: None for name in made if name not in said}
    for name, value in said.items():
        one = _difference(made.get(name, ABSENT), value)
        if one is not None:
            fields[name] = one
    return fields


def _applied(made: Any, more: Json) -> Any:
    if "is" in more:
        return more["is"]
    if "items" in more:
        items = list(made)
        for place, one in more["items"].items():
            items[int(place)] = _applied(items[int(place)], one)
        return items
    fields = dict(made)
    for name, one in more["fields"].items():
        if one is None:
            del fields[name]
        else:
            fields[name] = _applied(fields.get(name), one)
    return fields
