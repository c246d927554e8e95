"""A machine state as text for people: files whole, rulesets in nft syntax, the rest a line each."""

from collections.abc import Iterable, Iterator

from appliance.resources import File, Leases, Password, Records, Resource, Ruleset


def pieces(resources: Iterable[Resource]) -> Iterator[str]:
    for resource in resources:
        match resource:
            case File():
                yield f"# file {resource.path} {resource.mode:04o}\n{resource.content}"
            case Records():
                lines = "\n".join(resource.records.values())
                yield f"# records {resource.path} {resource.mode:04o}\n{lines}\n"
            case Ruleset():
                yield f"# nft table inet {resource.table}\n{ruleset_text(resource)}"
            case Leases():
                count = len(resource.holders)
                yield f"leases on {resource.link}: none of {count} reserved addresses is held by another"
            case Password():
                yield f"password {resource.network}/{resource.address} (kept until it is fetched)"
            case _:
                yield _line(resource)


def ruleset_text(ruleset: Ruleset) -> str:
    """The table with its limits and elements, as `nft -f` takes it."""
    fill = "".join(
        f"add element inet {ruleset.table} {name} {{\n"
        + "".join(
            f"    {key},\n" if mapped is None else f"    {key} : {mapped},\n"
            for key, mapped in elements.items()
        )
        + "}\n"
        for name, elements in ruleset.elements.items()
        if elements
    )
    limits = "".join(
        f"add limit inet {ruleset.table} {name} "
        f"{{ rate over {limit.rate} bytes/second burst {limit.burst} bytes ; }}\n"
        for name, limit in ruleset.limits.items()
    )
    return f"{ruleset.text}{limits}{fill}"


def _line(resource: Resource) -> str:
    kind = type(resource).__name__.lower()
    fields = (
        f"{name}={value}"
        for name in resource.__slots__
        if (value := getattr(resource, name)) not in (None, (), "")
    )
    return f"{kind} {' '.join(fields)}"
