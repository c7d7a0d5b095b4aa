"""What differs from an earlier configuration, and the smallest PATCH that brings it back."""

import copy
from typing import Any

import pytest

from rollback.resources.diff import comparable, differences, digest_of, value_at
from rollback.resources.patching import body_of, sort_out, with_tags
from rollback.resources.secrets import MARK

KIND = "Microsoft.Web/sites/config"


def compare(now: Any, then: Any, kind: str = KIND, *, partial: bool = False) -> tuple[list[str], Any, list[str]]:
    """What differs in words, the PATCH, and what stays."""
    here, there = comparable(kind, now), comparable(kind, then)
    found = differences(here, there, partial=partial)
    changes, left = sort_out(kind, found, here, there)
    return (
        [each.words for each in found],
        with_tags(body_of(changes, here, there), changes, now.get("tags")),
        [each.difference.place for each in left],
    )


def test_a_property_that_differs_is_sent_alone() -> None:
    now = {"properties": {"alwaysOn": False, "http20Enabled": True, "cors": {"a": 1, "b": 2}}}
    then = {"properties": {"alwaysOn": True, "http20Enabled": True, "cors": {"a": 1, "b": 3}}}
    words, body, left = compare(now, then)
    assert words == ["properties.alwaysOn: false → true", "properties.cors.b: 2 → 3"]
    assert body == {"properties": {"alwaysOn": True, "cors": {"b": 3}}}
    assert left == []


def test_what_was_not_there_is_taken_away_by_null_and_null_is_nothing() -> None:
    words, body, _ = compare({"properties": {"a": 1, "b": None}}, {"properties": {"c": None}})
    assert words == ["properties.a: 1 → (not there)"]
    assert body == {"properties": {"a": None}}


def test_what_a_part_of_a_configuration_does_not_mention_stays() -> None:
    words, body, _ = compare({"properties": {"a": 1, "b": 2}}, {"properties": {"a": 3}}, partial=True)
    assert words == ["properties.a: 1 → 3"]
    assert body == {"properties": {"a": 3}}


def test_arrays_are_compared_by_what_their_elements_are_known_by_and_written_whole() -> None:
    now = {"properties": {"rules": [{"name": "b", "port": 1}, {"name": "a", "port": 2}, {"name": "new", "port": 3}]}}
    then = {"properties": {"rules": [{"name": "a", "port": 2}, {"name": "b", "port": 9}]}}
    words, body, _ = compare(now, then)
    assert words == [
        "properties.rules[b].port: 1 → 9",
        'properties.rules[new]: {"name": "new", "port": 3} → (not there)',
    ]
    assert body == {"properties": {"rules": then["properties"]["rules"]}}


@pytest.mark.parametrize(
    ("only", "rules"),
    [
        ("[b].port", [{"name": "b", "port": 9}, {"name": "new", "port": 3}]),
        ("[new]", [{"name": "b", "port": 1}]),
        ("[a]", [{"name": "b", "port": 1}, {"name": "new", "port": 3}, {"name": "a", "port": 2}]),
        ("", [{"name": "a", "port": 2}, {"name": "b", "port": 9}]),
    ],
)
def test_an_array_of_which_only_a_part_comes_back_keeps_its_other_elements(only: str, rules: list[Any]) -> None:
    now: Any = {"properties": {"in": {"rules": [{"name": "b", "port": 1}, {"name": "new", "port": 3}]}}}
    then: Any = {"properties": {"in": {"rules": [{"name": "a", "port": 2}, {"name": "b", "port": 9}]}}}
    before = copy.deepcopy(now)
    chosen = [each for each in differences(now, then, partial=False) if each.place.endswith(only)]
    assert body_of(chosen, now, then) == {"properties": {"in": {"rules": rules}}}
    assert now == before


def test_an_array_in_another_order_is_no_difference_where_its_elements_are_known() -> None:
    rules = [{"name": "a", "port": 1}, {"name": "b", "port": 2}]
    now, then = ({"properties": {"rules": each}} for each in (rules, rules[::-1]))
    assert compare(now, then)[0] == []
    assert digest_of(comparable(KIND, now)) == digest_of(comparable(KIND, then))
    assert compare({"properties": {"list": [1, 2]}}, {"properties": {"list": [2, 1]}})[0] != []


def test_tags_are_written_whole_with_those_of_our_own_as_they_are_now() -> None:
    now = {"tags": {"a": "1", "new": "2", "rollback-digest": "now"}}
    then = {"tags": {"a": "0", "gone": "3", "rollback-digest": "then"}}
    assert compare(now, then)[1] == {"tags": {"a": "0", "gone": "3", "rollback-digest": "now"}}
    assert compare({"tags": {"rollback-digest": "now"}}, {"tags": {"a": "0"}})[1] == {
        "tags": {"a": "0", "rollback-digest": "now"}
    }
    assert compare({"tags": {"a": "1"}}, {"tags": {}})[1] == {"tags": {}}


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("Microsoft.Web/sites", {"properties": {"hostNames": ["a"], "lastModifiedTimeUtc": "x", "state": "Running"}}),
        ("Microsoft.DBforPostgreSQL/flexibleServers", {"properties": {"backup": {"earliestRestoreDate": "x"}}}),
        ("Microsoft.Any/things", {"etag": "x", "systemData": {"x": 1}, "properties": {"provisioningState": "x"}}),
        ("Microsoft.Any/things", {"identity": {"principalId": "x", "tenantId": "x"}}),
    ],
)
def test_what_azure_decides_is_not_compared(kind: str, content: dict[str, Any]) -> None:
    assert compare(content, {}, kind)[0] == []


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Microsoft.DBforPostgreSQL/flexibleServers", ("properties", "administratorLogin")),
        ("Microsoft.Web/sites/slots", ("properties", "reserved")),
        ("Microsoft.Any/things", ("location",)),
        ("Microsoft.Any/things", ("kind",)),
    ],
)
def test_what_is_decided_once_is_named_and_not_sent(kind: str, path: tuple[str, ...]) -> None:
    def with_value(value: str) -> Any:
        return {path[0]: value} if len(path) == 1 else {path[0]: {path[1]: value}}

    _, body, left = compare(with_value("a"), with_value("b"), kind)
    assert (body, left) == ({}, [".".join(path)])


def test_a_location_is_the_same_however_it_is_spelled() -> None:
    assert compare({"location": "East US"}, {"location": "eastus"})[0] == []


def test_a_mark_is_never_written_and_what_is_only_written_with_one_stays() -> None:
    hooks = [{"name": "a", "url": "https://x", "token": "canary"}, {"name": "b", "url": "https://y"}]
    now = {"properties": {"hooks": hooks, "password": "canary"}}
    then = {"properties": {"hooks": [{**hooks[0], "token": MARK}, {**hooks[1], "url": "https://z"}], "password": MARK}}
    words, body, left = compare(now, then)
    assert words == ['properties.hooks[b].url: "https://y" → "https://z"']
    assert (body, left) == ({}, ["properties.hooks[b].url"])
    assert compare({"properties": {"a": 1}}, {"properties": {"a": 1, "password": MARK}})[1:] == (
        {},
        ["properties.password"],
    )
    there = comparable(KIND, then)
    everything = differences({}, there, partial=False)
    with pytest.raises(AssertionError, match="left out"):
        body_of(everything, {}, there)


def test_a_value_is_found_by_the_same_path_as_its_difference() -> None:
    then = {"properties": {"rules": [{"name": "a.b", "port": 2}]}}
    (found,) = differences({"properties": {"rules": [{"name": "a.b", "port": 1}]}}, then, partial=False)
    assert value_at(then, found.path) == 2
    assert value_at(then, (*found.path, "further")) is None
