"""GraphQL requests against schema.graphql: parsed and checked once a document, within limits that no client of W&B's
comes near, and answered by resolvers. Errors become W&B's status codes; a defect is logged, not shown."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    InlineFragmentNode,
    Node,
    OperationDefinitionNode,
    SelectionSetNode,
    build_schema,
    execute_sync,
    parse,
    validate,
)

from launcher.errors import (
    AccessError,
    ConflictError,
    LaunchError,
    NotFoundError,
    StoreError,
    StoreFullError,
)

SCHEMA = Path(__file__).parent / "schema.graphql"
LONGEST = 100_000
"""Characters of a document; W&B's longest has about 3,000."""

MOST_TOKENS = 10_000
DEEPEST = 16
"""Fields within fields; GraphQL's own introspection query has 15."""

MOST_FIELDS = 2_500
"""Fields of a document, those of a fragment counted wherever it is used."""

TOO_DEEP = "what was sent is nested too deeply"
REMEMBERED, REMEMBERED_LENGTH = 200, 8_000
"""How many documents are checked once only, and their length at most: one of them takes 90 times its text."""

MOST_ERRORS = 10

log = logging.getLogger(__name__)

Resolver = Callable[..., Any]
Resolvers = Mapping[str, Mapping[str, Resolver]]
"""By type and field: what gives a field's value, from its parent, the info and its arguments."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: its status code, and its JSON."""

    status: int
    body: dict[str, Any]


def refusal(status: int, message: str) -> Answer:
    """An answer that says why there is none."""
    return Answer(status, {"errors": [{"message": message}], "data": None})


def status_of(error: BaseException | None) -> int:
    """The status code for an error that a resolver raised, as W&B has them; 500 for a defect of ours."""
    for kind, status in (
        (AccessError, 403),
        (NotFoundError, 404),
        (ConflictError, 409),
        (StoreFullError, 507),
        (StoreError, 503),
        ((LaunchError, GraphQLError, RecursionError), 400),
    ):
        if isinstance(error, kind):
            return status
    return 500


class Engine:
    """The schema with its resolvers. Threads may call it at once."""

    def __init__(self, resolvers: Resolvers) -> None:
        self.schema = bound(SCHEMA.read_text(encoding="utf-8"), resolvers)
        self._checked = lru_cache(REMEMBERED)(self._check)

    def answer(self, asked: Any, context: Any) -> Answer:
        """The answer to what a client asked for, the JSON of its request; resolvers get the context in their info."""
        try:
            document, variables, name = self._understood(asked)
        except GraphQLError as error:
            return refusal(400, error.message)
        except ExceptionGroup as errors:
            told = [_told(error) for error in errors.exceptions if isinstance(error, GraphQLError)]
            log.info("refused: %s in %s", told, asked["query"][:1000])
            return Answer(400, {"errors": told[:MOST_ERRORS], "data": None})
        result = execute_sync(
            self.schema, document, variable_values=variables, operation_name=name, context_value=context
        )
        body: dict[str, Any] = {"data": result.data}
        if result.errors:
            body["errors"] = [_told(error) for error in result.errors]
            log.info("refused: %s", body["errors"])
        answered = result.data is not None and any(value is not None for value in result.data.values())
        if answered or not result.errors:
            return Answer(200, body)
        return Answer(status_of(_cause(result.errors[0])), body)

    def _understood(self, asked: Any) -> tuple[DocumentNode, dict[str, Any], str | None]:
        """The document, its variables and the operation that is meant. GraphQLError, or a group of them, for a request
        that is none."""
        if not isinstance(asked, dict) or not isinstance(asked.get("query"), str):
            raise GraphQLError("expected an object with the text of a document as its query")
        variables, name = asked.get("variables") or {}, asked.get("operationName") or None
        if not isinstance(variables, dict) or not isinstance(name, str | None):
            raise GraphQLError("expected an object as variables and a text as operationName")
        try:
            text = asked["query"]
            check = self._checked if len(text) <= REMEMBERED_LENGTH else self._check
            document, errors = check(text)
        except RecursionError as error:
            raise GraphQLError(f"the document has more than {DEEPEST} fields within each other") from error
        try:
            variables = {key: without_nulls(value) for key, value in variables.items()}
        except RecursionError as error:
            raise GraphQLError(TOO_DEEP) from error
        if errors:
            raise ExceptionGroup("the document is wrong", errors)
        return document, variables, name

    def _check(self, text: str) -> tuple[DocumentNode, list[GraphQLError]]:
        if len(text) > LONGEST:
            raise GraphQLError(f"the document has {len(text):,} characters; at most {LONGEST:,} are taken")
        document = parse(text, no_location=False, max_tokens=MOST_TOKENS)
        too_much = excess(document)  # before the rules, for some of them take the square of it
        if too_much:
            raise GraphQLError(too_much)
        return document, validate(self.schema, document, max_errors=MOST_ERRORS)


def without_nulls(value: Any) -> Any:
    """A variable without the fields of objects that are null: newer clients send some that this schema has not.

    >>> without_nulls({"name": "a", "new": None})
    {'name': 'a'}
    """
    if isinstance(value, dict):
        return {key: without_nulls(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list):
        return [without_nulls(entry) for entry in value]
    return value


def bound(text: str, resolvers: Resolvers) -> GraphQLSchema:
    """The schema with its resolvers; KeyError for a resolver of a field that the schema has not."""
    schema = build_schema(text)
    for type_name, fields in resolvers.items():
        for name, resolver in fields.items():
            schema.type_map[type_name].fields[name].resolve = resolver  # type: ignore[attr-defined]
    for kind in schema.type_map.values():
        if kind.name == "ArtifactCollection":
            kind.resolve_type = lambda *_: "ArtifactSequence"  # type: ignore[attr-defined]
    return schema


def excess(document: DocumentNode) -> str | None:
    """What of a document goes beyond the limits; None if nothing does."""
    fragments = {part.name.value: part for part in document.definitions if isinstance(part, FragmentDefinitionNode)}
    sizes: dict[str, tuple[int, int]] = {}

    def size(selection: SelectionSetNode | None, within: frozenset[str]) -> tuple[int, int]:
        depth = fields = 0
        for node in selection.selections if selection else ():
            below_depth, below_fields = of(node, within)
            depth, fields = max(depth, below_depth), fields + below_fields
        return depth, fields

    def of(node: Node, within: frozenset[str]) -> tuple[int, int]:
        match node:
            case FieldNode():
                depth, fields = size(node.selection_set, within)
                return depth + 1, fields + 1
            case InlineFragmentNode():
                return size(node.selection_set, within)
            case FragmentSpreadNode():
                name = node.name.value
                if name in within or name not in fragments:
                    return 0, 0  # the rules tell of these
                if name not in sizes:
                    sizes[name] = size(fragments[name].selection_set, within | {name})
                return sizes[name]
        return 0, 0

    operations = [part for part in document.definitions if isinstance(part, OperationDefinitionNode)]
    found = [size(part.selection_set, frozenset()) for part in (*operations, *fragments.values())]
    if any(depth > DEEPEST for depth, _ in found):
        return f"the document has more than {DEEPEST} fields within each other"
    if sum(fields for _, fields in found) > MOST_FIELDS:
        return f"the document asks for more than {MOST_FIELDS:,} fields"
    return None


def _cause(error: GraphQLError) -> BaseException:
    while isinstance(error.original_error, GraphQLError):
        error = error.original_error
    return error.original_error or error


def _told(error: GraphQLError) -> dict[str, Any]:
    cause = _cause(error)
    told: dict[str, Any] = {"message": error.message}
    if isinstance(cause, RecursionError):
        told["message"] = TOO_DEEP
    elif status_of(cause) == 500:
        log.error("a resolver failed at %s", error.path, exc_info=cause)
        told["message"] = f"internal error: {type(cause).__name__}; the server's log has more"
    if error.path:
        told["path"] = list(error.path)
    return told
