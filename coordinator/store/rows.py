"""Rows of the tables, and the records that they hold."""

import dataclasses
import json
from typing import Any

from sqlalchemy import Row, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from coordinator.kubernetes.identity import ClusterIdentity
from coordinator.mesh.apitokens import ApiToken
from coordinator.mesh.approvals import Decision, ItemState
from coordinator.mesh.audit import AuditRow
from coordinator.mesh.authkeys import AuthKey
from coordinator.mesh.nodes import Node
from coordinator.mesh.policies import PolicyVersion, User
from meshwg import prefixes
from meshwg.wire.routes import RouteTraits

_PARTS = {"traits": RouteTraits, "decisions": Decision, "withheld": ItemState}
"""Columns of nodes with lists of objects, and what these are."""

Values = dict[str, Any]
"""The columns of a row by name."""


def to_node(row: Row[Any]) -> Node:
    values = dict(row._mapping)
    for name in ("routes", "announced"):
        values[name] = prefixes.readable(json.loads(values[name]))
    values["tags"] = tuple(json.loads(values["tags"]))
    values["cluster"] = _to_identity(values["cluster"])
    for name, kind in _PARTS.items():
        values[name] = tuple(kind(**each) for each in json.loads(values[name]))
    return Node(**values)


def from_node(node: Node) -> Values:
    values = dataclasses.asdict(node)
    for name in ("routes", "announced", "tags", *_PARTS):
        values[name] = json.dumps(values[name])
    cluster = values["cluster"]
    values["cluster"] = "" if cluster is None else json.dumps(cluster)
    return values


def _to_identity(text: str) -> ClusterIdentity | None:
    """Return which node of a cluster a row is of."""
    if not text:
        return None
    values = json.loads(text)
    values["networks"] = tuple(values["networks"])
    values["conflicts"] = tuple((each, name) for each, name in values["conflicts"])
    return ClusterIdentity(**values)


def to_auth_key(row: Row[Any]) -> AuthKey:
    values = dict(row._mapping)
    values["tags"] = tuple(json.loads(values["tags"]))
    return AuthKey(**values)


def from_auth_key(key: AuthKey) -> Values:
    return {**dataclasses.asdict(key), "tags": json.dumps(key.tags)}


def to_api_token(row: Row[Any]) -> ApiToken:
    values = dict(row._mapping)
    values["scopes"] = tuple(json.loads(values["scopes"]))
    return ApiToken(**values)


def from_api_token(token: ApiToken) -> Values:
    return {**dataclasses.asdict(token), "scopes": json.dumps(token.scopes)}


def to_policy(row: Row[Any]) -> PolicyVersion:
    return PolicyVersion(**row._mapping)


def to_audit_row(row: Row[Any]) -> AuditRow:
    return AuditRow(**row._mapping)


def to_user(row: Row[Any]) -> User:
    return User(**row._mapping)


async def upsert(
    connection: AsyncConnection, table: Table, key: str, rows: list[Values]
) -> None:
    """Insert rows, or replace those that have the same key.

    :param key: the column of the primary key.
    """
    statement: Any = sqlite.insert(table)
    if connection.dialect.name == "postgresql":
        # Importing it takes a twentieth of a second, which SQLite does not need.
        from sqlalchemy.dialects import postgresql

        statement = postgresql.insert(table)
    others = {
        column.name: statement.excluded[column.name]
        for column in table.columns
        if column.name != key
    }
    await connection.execute(
        statement.on_conflict_do_update(index_elements=[key], set_=others), rows
    )
