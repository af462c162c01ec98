"""onlyReadyEndpoints: slices follow pods within the propagation bound, and unready pods get no new connections."""

from __future__ import annotations

from chaoskit.model.verdict import Grade
from chaoskit.slos.endpoints import OnlyReadyEndpoints
from chaoskit.slos.judging import judged
from tests.histories import Told, endpoint_slice, kill, pod, service, shop, window

SLO = OnlyReadyEndpoints()


def killed_at_10(**of: object) -> Told:
    told = Told(shop(**of)).settled_shop()  # type: ignore[arg-type]
    told.phases(baseline=1, inject=10, revert=30, settle=30, ended=40).done_and_seen(10, kill("a"))
    return told.see("pods", 10.01, pod("a", terminating=True))


def test_an_endpoint_that_leaves_with_its_pod_passes() -> None:
    told = killed_at_10().see("endpoints", 10.06, endpoint_slice("b", "c", draining="a")).gone("pods", 11, pod("a"))
    finding = judged(SLO, told.history())
    assert finding.grade is Grade.PASS
    assert finding.measured == 0.05
    assert finding.limit == 4.0


def test_an_endpoint_that_stays_while_its_pod_terminates_fails() -> None:
    finding = judged(SLO, killed_at_10().see("endpoints", 16.01, endpoint_slice("b", "c")).history())
    assert finding.grade is Grade.FAIL
    assert finding.because.startswith(
        "service shop listed pod a as ready for 6 s while it was not, or was on its way out; allowed 4 s = 1 s EndpointSlice"
    )


def test_a_ready_pod_that_is_not_listed_fails() -> None:
    told = killed_at_10().see("endpoints", 10.05, endpoint_slice("b")).gone("pods", 11, pod("a"))
    finding = judged(SLO, told.history())
    assert finding.grade is Grade.FAIL
    assert finding.because.startswith("pod c was ready for 29.9 s and no ready endpoint of service shop")


def test_a_stale_second_slice_with_a_dead_address_fails() -> None:
    told = killed_at_10().see("endpoints", 10.05, endpoint_slice("b", "c")).gone("pods", 11, pod("a"))
    told.see("endpoints", 9, endpoint_slice("a", "b", "c", uid="mirror"))
    assert judged(SLO, told.history()).grade is Grade.FAIL


def test_short_differences_of_several_pods_do_not_add_up() -> None:
    told = killed_at_10().see("endpoints", 13, endpoint_slice("b", "c")).gone("pods", 11, pod("a"))
    told.see("pods", 13, pod("d")).see("endpoints", 16, endpoint_slice("b", "c", "d"))
    finding = judged(SLO, told.history())
    assert finding.grade is Grade.PASS
    assert finding.measured == 3.0


def test_a_difference_still_open_at_the_end_is_inconclusive() -> None:
    told = (
        killed_at_10()
        .see("endpoints", 10.05, endpoint_slice("b", "c"))
        .gone("pods", 11, pod("a"))
        .see("pods", 39, pod("d"))
    )
    assert judged(SLO, told.history()).grade is Grade.INCONCLUSIVE


def test_over_the_steady_state_nothing_may_differ() -> None:
    history = killed_at_10().see("endpoints", 12, endpoint_slice("b", "c")).gone("pods", 11, pod("a")).history()
    assert judged(SLO, history, window("settle", 15, 20)).grade is Grade.PASS
    assert judged(SLO, history, window("settle", 11, 16)).grade is Grade.FAIL
    assert judged(SLO, history, window("baseline", 1, 10)).grade is Grade.PASS


def test_with_publish_not_ready_addresses_unready_pods_belong_to_the_service() -> None:
    told = killed_at_10(services=[service(publishNotReadyAddresses=True)])
    told.see("endpoints", 11.05, endpoint_slice("b", "c")).gone("pods", 11, pod("a")).see(
        "pods", 12, pod("b", ready=False)
    )
    assert judged(SLO, told.history()).grade is Grade.PASS
    told = killed_at_10().see("endpoints", 10.05, endpoint_slice("b", "c")).gone("pods", 11, pod("a"))
    assert judged(SLO, told.see("pods", 12, pod("b", ready=False)).history()).grade is Grade.FAIL


def unready_from_12(told: Told) -> Told:
    told.see("endpoints", 10.05, endpoint_slice("b", "c")).gone("pods", 11, pod("a"))
    return told.see("pods", 12, pod("b", ready=False)).see("endpoints", 12.02, endpoint_slice("c"))


def test_an_unready_pod_that_answers_new_connections_fails() -> None:
    finding = judged(SLO, unready_from_12(killed_at_10()).traffic(0, 20, who=lambda i: "bc"[i % 2]).history())
    assert finding.grade is Grade.FAIL
    assert finding.because.startswith("pod b answered 200 requests on new connections though it was not ready")


def test_kept_connections_to_an_unready_pod_are_no_breach() -> None:
    told = unready_from_12(killed_at_10()).traffic(0, 20, who=lambda i: "bc"[i % 2], policy="reuse")
    assert judged(SLO, told.history()).grade is Grade.PASS


def test_new_connections_within_the_allowance_are_no_breach() -> None:
    told = (
        unready_from_12(killed_at_10()).traffic(0, 15.5, who=lambda i: "bc"[i % 2]).traffic(15.5, 20, who=lambda i: "c")
    )
    assert judged(SLO, told.history()).grade is Grade.PASS


def test_a_terminating_pod_that_still_serves_is_excused() -> None:
    told = killed_at_10().see("endpoints", 10.05, endpoint_slice("b", "c", draining="a")).traffic(0, 20)
    assert judged(SLO, told.history()).grade is Grade.PASS


def test_without_a_service_nothing_is_concluded() -> None:
    assert judged(SLO, killed_at_10(services=[]).history()).grade is Grade.INCONCLUSIVE
    assert SLO.bound(shop(services=[])) is None
