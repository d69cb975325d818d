from __future__ import annotations

import pytest

from siren_grpc.domain.errors import InvalidConfig
from siren_grpc.domain.principal import Caller, Principal
from siren_grpc.server.call_id import CallId


def test_sessions_have_ids_of_their_own() -> None:
    one, other = CallId(), CallId()
    assert one.session != other.session
    assert (str(one), one.principal_name) == (one.session, "")
    assert one.trailers == (("siren-session-id", one.session),)
    one.take_request("")
    assert one.request == ""


@pytest.mark.parametrize("request_id", ["1", "order 7/b", "~" * 128, "{}:=,;"])
def test_the_clients_own_name(request_id: str) -> None:
    call_id = CallId()
    call_id.take_request(request_id)
    assert str(call_id) == f"{call_id.session} (request {request_id})"
    assert call_id.trailers[1:] == (("siren-request-id", request_id),)


@pytest.mark.parametrize("request_id", [" a", "a ", " ", "a\nb", "a\n", "caf\u00e9", "\x7f", "a\0"])
def test_what_no_header_or_log_line_holds_is_refused(request_id: str) -> None:
    call_id = CallId()
    with pytest.raises(InvalidConfig, match="printable ASCII") as caught:
        call_id.take_request(request_id)
    assert caught.value.message.isprintable()
    assert call_id.request == ""


def test_a_long_one_is_refused() -> None:
    with pytest.raises(InvalidConfig, match="129 characters; use 128 at most"):
        CallId().take_request("a" * 129)


def test_log_lines_say_whose_a_call_is() -> None:
    call_id = CallId(Caller(Principal("phone")))
    assert str(call_id) == f"{call_id.session} (of phone)"
    assert call_id.principal_name == "phone"
    call_id.take_request("7")
    assert str(call_id) == f"{call_id.session} (request 7, of phone)"
    assert call_id.trailers == (("siren-session-id", call_id.session), ("siren-request-id", "7"))
