"""The sample app on its cache, behind the platform's own host names."""

from azure_names import PRODUCTION_HOST, STAGING_HOST

DONATIONS = "/api/v1/donations?limit=5"
URL = f"https://{PRODUCTION_HOST}"
OLD = f"https://{STAGING_HOST}"
"""Production's slot: it has release v1.2.2, and the same cache and database."""


async def test_who_is_signed_in_is_let_in_until_the_token_is_revoked_or_the_session_is_gone(https, caches):
    session = (await https.post(f"{OLD}/api/v1/sessions")).json()
    bearer = {"Authorization": f"Bearer {session['token']}"}
    assert (await https.get(f"{OLD}/api/v1/me", headers=bearer)).json() == {"session": {"id": session["id"]}}
    assert (await https.get(f"{OLD}/api/v1/me")).status_code == 401
    assert (await https.post(f"{OLD}/api/v1/logout", headers=bearer)).status_code == 204
    assert (await https.get(f"{OLD}/api/v1/me", headers=bearer)).status_code == 401
    with caches.connect(await caches.place()) as client:
        (revoked,) = client.scan_iter(f"jwt_blacklist:{session['token'].rpartition('.')[2]}")
        client.unlink(revoked)
        assert (await https.get(f"{OLD}/api/v1/me", headers=bearer)).status_code == 200
        client.unlink(f"session:{session['id']}")
    assert (await https.get(f"{OLD}/api/v1/me", headers=bearer)).status_code == 401


async def test_poisoned_pages_are_wrong_in_an_older_release_until_they_are_deleted(https, control, caches):
    right = (await https.get(OLD + DONATIONS)).json()
    control.break_("cache-poisoned")
    wrong = (await https.get(OLD + DONATIONS)).json()
    assert [each["id"] for each in wrong["donations"]] == [each["id"] for each in right["donations"]]
    assert [round(100 * each["amount_cents"], 2) for each in wrong["donations"]] == [
        each["amount_cents"] for each in right["donations"]
    ]
    newer = next(each for each in [await https.get(URL + DONATIONS) for _ in range(20)] if each.status_code == 200)
    assert newer.json() == right
    with caches.connect(await caches.place()) as client:
        client.unlink(*client.scan_iter("cache:donations:*"))
    assert (await https.get(OLD + DONATIONS)).json() == right


async def test_poisoned_pages_can_break_an_older_release(https, control):
    control.break_("cache-poisoned", form="fails")
    assert (await https.get(OLD + DONATIONS)).status_code == 500
    control.reset()
    assert (await https.get(OLD + DONATIONS)).status_code == 200


async def test_donations_are_there_without_the_cache_and_the_health_report_says_what_is_missing(https, control):
    assert (await https.get(f"{OLD}/health/detailed")).json()["checks"]["redis"] == "ok"
    control.break_("redis-drops", drops=0)
    assert (await https.get(OLD + DONATIONS)).status_code == 200
    report = await https.get(f"{OLD}/health/detailed")
    assert (report.status_code, report.json()["checks"]["redis"]) == (200, "unavailable")


async def test_stagings_app_uses_the_cluster(https, control, eventually):
    async def connected() -> bool:
        report = (await https.get("https://fundrbolt-staging-api.azurewebsites.net/health/detailed")).json()
        return report["checks"].get("redis") == "ok"

    await eventually(connected)
