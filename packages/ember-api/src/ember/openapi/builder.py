"""Builds the OpenAPI document from the routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ember.openapi.components import Components, Schema
from ember.openapi.requests import describe_body, describe_parameters, parameters_of
from ember.openapi.responses import Responses
from ember.openapi.schemas import documentation
from ember.routing.route import Route

if TYPE_CHECKING:
    from ember.openapi.interfaces import DescribedApp

VERSION = "3.1.0"
#: The methods that a Path Item can have (OpenAPI 3.1 section 4.8.9).
METHODS = ("GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE")


def build(app: DescribedApp) -> dict[str, Any]:
    """Build the document; see `ember.openapi.document`."""
    components = Components()
    paths: dict[str, Schema] = {}
    ids: set[str] = set()
    tags: dict[str, None] = {}
    # A path is described once: routes for all hosts go before routes for some hosts.
    for route in sorted(app.routes, key=lambda route: bool(route.hosts)):
        methods = [method for method in route.methods if method in METHODS]
        if not route.include_in_schema or not methods:
            continue
        operation = _operation(app, route, components)
        tags.update(dict.fromkeys(route.tags))
        for method in methods:
            path = _path_for(paths, route, method)
            if method.lower() in paths.get(path, {}):
                continue
            copy = _with_names(operation, route, path)
            copy["operationId"] = _unique(
                route.name if len(methods) == 1 else f"{route.name}_{method.lower()}", ids
            )
            paths.setdefault(path, {})[method.lower()] = copy
    result: dict[str, Any] = {
        "openapi": VERSION,
        "info": {"title": app.title, "version": app.version},
        "paths": paths,
    }
    if components.schemas:
        result["components"] = {"schemas": dict(sorted(components.schemas.items()))}
    if tags:
        result["tags"] = [{"name": tag} for tag in tags]
    return result


def _operation(app: DescribedApp, route: Route, components: Components) -> Schema:
    found = parameters_of(app, route)
    head, rest = documentation(route.handler)
    operation: Schema = {"operationId": ""}
    if route.tags:
        operation["tags"] = list(route.tags)
    operation["summary"] = route.summary or head or route.name.replace("_", " ").capitalize()
    description = "\n\n".join(filter(None, (head, rest))) if route.summary else rest
    if description:
        operation["description"] = description
    if route.deprecated:
        operation["deprecated"] = True
    if route.hosts:
        operation["servers"] = [{"url": f"//{host}"} for host in route.hosts]
    parameters = describe_parameters(app, route, found, components)
    if parameters:
        operation["parameters"] = parameters
    body = describe_body(found, components)
    if body is not None:
        operation["requestBody"] = body
    operation["responses"] = Responses(route, components).describe(found)
    return operation


def _unique(name: str, ids: set[str]) -> str:
    unique, number = name, 2
    while unique in ids:
        unique, number = f"{name}_{number}", number + 1
    ids.add(unique)
    return unique


def path_of(route: Route) -> str:
    """The path with its parameters in the form of OpenAPI, without converters."""
    segments = [
        "".join(part if isinstance(part, str) else f"{{{part.name}}}" for part in segment)
        for segment in route.template.segments
    ]
    return "/" + "/".join(segments)


def _shape(path: str) -> list[str]:
    import re

    return re.sub(r"\{[^{}]*\}", "{}", path).split("/")


def _path_for(paths: dict[str, Schema], route: Route, method: str) -> str:
    """The key of the Path Item. In OpenAPI `/x/{id}` and `/x/{name}` are the same path (section
    4.8.8.1): the second one gets the key of the first."""
    path = path_of(route)
    if path in paths or not route.template.parameters:
        return path
    shape = _shape(path)
    for other, item in paths.items():
        if _shape(other) == shape and method.lower() not in item:
            return other
    return path


def _with_names(operation: Schema, route: Route, path: str) -> Schema:
    """A copy of `operation` with the path parameter names of `path`."""
    import re

    copy = dict(operation)
    names = dict(
        zip(
            (p.name for p in route.template.parameters),
            re.findall(r"\{([^{}]*)\}", path),
            strict=True,
        )
    )
    if "parameters" in copy:
        copy["parameters"] = [
            {**item, "name": names[item["name"]]} if item["in"] == "path" else dict(item)
            for item in copy["parameters"]
        ]
    return copy
