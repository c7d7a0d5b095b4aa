import pytest

from rollback.redaction import BLACK, blacken


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("connecting to postgres://app:hunter2@db:5432/x", "hunter2"),
        ("DB_PASSWORD=hunter2 starting", "hunter2"),
        ('{"client_secret": "hunter2"}', "hunter2"),
        ("Authorization: Bearer abc.def~123", "abc.def~123"),
        ("token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl ok", "eyJzdWIiOiIxIn0"),
        ("pushing as ghs_16C7e42F292c6912E7 to main", "16C7e42F292c6912E7"),
        ("github_pat_11ABCDEFG0_abcdefghij is used", "abcdefghij"),
        ("GET https://x/y?sv=1&sig=abc%2F123&se=2", "abc%2F123"),
        ("Endpoint=sb://x/;SharedAccessKeyName=root;SharedAccessKey=c2VjcmV0MTIz=", "c2VjcmV0MTIz"),
    ],
)
def test_what_looks_like_a_secret_is_blackened(line: str, secret: str) -> None:
    assert secret not in blacken(line)
    assert BLACK in blacken(line)


def test_values_that_are_known_are_blackened_wherever_they_stand() -> None:
    assert blacken("key is correct horse battery", ["correct horse battery"]) == f"key is {BLACK}"


def test_short_values_stay_since_they_are_words() -> None:
    assert blacken("listening on 8080, debug true", ["8080", "true"]) == "listening on 8080, debug true"


def test_ordinary_lines_stay_as_they_are() -> None:
    line = "GET /api/v1/donations 500 12 ms (release v1.2.3)"
    assert blacken(line) == line


def test_a_name_is_blackened_from_its_beginning() -> None:
    assert blacken("x-my_db-password-2=hunter2, y") == f"{BLACK}, y"
