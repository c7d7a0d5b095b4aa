import pytest

from rollback.database.fencing import rules_for_apps
from rollback.database.models import FirewallRule
from rollback.database.plans import RestorePlan

AZURE = FirewallRule(name="azure", start="0.0.0.0", end="0.0.0.0")  # noqa: S104 - Azure's own notation
APPS = FirewallRule(name="apps", start="20.1.1.0", end="20.1.1.255")
LAST = FirewallRule(name="last address of the app", start="20.1.1.2", end="20.1.1.2")
BESIDE = FirewallRule(name="beside", start="20.1.1.3", end="20.1.1.255")
OPERATORS = FirewallRule(name="operators", start="198.51.100.7", end="198.51.100.7")
EVERYBODY = FirewallRule(name="everybody", start="0.0.0.0", end="255.255.255.255")  # noqa: S104 - as above


@pytest.mark.parametrize(
    ("rules", "chosen"),
    [
        pytest.param((AZURE, APPS, OPERATORS), (AZURE, APPS), id="all of Azure, and a range with the apps"),
        pytest.param((LAST, BESIDE, OPERATORS), (LAST,), id="one address, not those beside it"),
        pytest.param((OPERATORS,), (), id="nothing lets the apps in"),
        pytest.param((AZURE, APPS), (), id="no other rule would be left for ourselves"),
        pytest.param((EVERYBODY,), (), id="everybody, ourselves too"),
        pytest.param((), (), id="no rules, as with private access"),
    ],
)
def test_the_rules_that_let_the_apps_in_are_chosen(
    plan: RestorePlan, rules: tuple[FirewallRule, ...], chosen: tuple[FirewallRule, ...]
) -> None:
    settings = plan.settings.model_copy(update={"firewall_rules": rules})
    assert rules_for_apps(plan.model_copy(update={"settings": settings})) == chosen


def test_an_app_whose_addresses_nobody_knows_is_kept_out_by_azures_rule_only(plan: RestorePlan) -> None:
    unknown = tuple(each.model_copy(update={"addresses": ()}) for each in plan.consumers)
    assert [each.name for each in rules_for_apps(plan.model_copy(update={"consumers": unknown}))] == ["azure"]
