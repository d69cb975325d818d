from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from siren.v1 import admin_pb2 as pb
from siren.v1 import admin_pb2_grpc
from typer.testing import CliRunner

from siren_client.cli.app import build_app

SESSION_ID = "dd20df8494e84ef7a89287a0f4a95cb2"


class Servicer(admin_pb2_grpc.AdminServiceServicer):
    """Knows one session, and answers three times."""

    def __init__(self) -> None:
        self.n_answers = 0

    def ListSessions(self, request, context):
        self.n_answers += 1
        if self.n_answers > 3:
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")
        session = pb.LiveSession(session_id=SESSION_ID, model="siren-mini-en", front_end="1")
        return pb.ListSessionsResponse(sessions=[session])

    def EndSession(self, request, context):
        return pb.EndSessionResponse(was_found=request.session_id == SESSION_ID)


@pytest.fixture
def admin():
    server = grpc.server(ThreadPoolExecutor(1))
    admin_pb2_grpc.add_AdminServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture
def run(monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def run(*arguments: str, columns: int | None = None):
        env = {} if columns is None else {"COLUMNS": str(columns)}
        return CliRunner(env=env).invoke(build_app([]), ["admin", *arguments])

    return run


def test_a_table_of_sessions_fits_its_terminal(run, admin):
    done = run("sessions", "--admin", admin, columns=40)
    assert done.exit_code == 0
    assert SESSION_ID[:8] in done.stdout
    assert "left out here: front end, request" in done.stdout
    assert max(map(len, done.stdout.splitlines()[:4])) <= 40
    whole = run("sessions", "--admin", admin, columns=200)
    assert "left out" not in whole.stdout


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_watching_through_a_pipe_gives_one_answer_behind_the_other(run, admin, arguments):
    done = run("sessions", "--admin", admin, "--watch", "0.01", *arguments)
    assert done.exit_code == 1  # the server goes
    assert done.stdout.count(SESSION_ID[:8]) == 3
    assert "UNAVAILABLE: gone" in done.stderr
    if arguments:
        assert json.loads(done.stdout[: done.stdout.index("}\n{") + 1])["sessions"]


def test_an_id_that_is_cut_off_is_not_found_and_told_why(run, admin):
    assert run("end", SESSION_ID, "--admin", admin).exit_code == 0
    done = run("end", SESSION_ID[:8], "--admin", admin)
    assert done.exit_code == 1
    assert "siren admin sessions --json" in done.stderr


def test_no_admin_port_says_how_to_have_one(run, echo):
    done = run("status", "--admin", "127.0.0.1:1")
    assert done.exit_code == 1
    assert "No admin service answers at 127.0.0.1:1." in done.stderr
    assert "--admin-port" in done.stderr
    done = run("status", "--admin", echo.target)
    assert "is no admin port" in done.stderr
