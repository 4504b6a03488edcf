"""Whether a process is one of several, and which."""

import socket
import subprocess
import sys

import jax
import pytest

from mmjax.cli import distributed
from mmjax.errors import UserError
from tests.commands import ROOT

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[001-004]",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
}


@pytest.fixture
def started(monkeypatch):
    """What `jax.distributed.initialize` is called with."""
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *args, **_: calls.append(args))
    return calls


@pytest.fixture
def slurm(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1:1234,2,0", ("10.0.0.1:1234", 2, 0)),
        ("node1:80,16,15", ("node1:80", 16, 15)),
        ("[::1]:1234,2,1", ("[::1]:1234", 2, 1)),
    ],
)
def test_what_the_flag_says(text, expected):
    assert distributed.member(text) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "give HOST:PORT,N,RANK"),
        ("of", "did you mean 'off'"),
        ("node1", "give HOST:PORT,N,RANK"),
        ("node1:80", "give HOST:PORT,N,RANK"),
        ("node1:80,2", "give HOST:PORT,N,RANK"),
        ("node1,2,0", "give HOST:PORT,N,RANK"),
        (":80,2,0", "give HOST:PORT,N,RANK"),
        ("node1:80,2,0,1", "give HOST:PORT,N,RANK"),
        ("node1:http,2,0", "PORT is 'http'"),
        ("node1:80,two,0", "N is 'two'"),
        ("node1:80,2,-1", "RANK is '-1'"),
        ("node1:80,2,²", "RANK is '²'"),
        ("node1:0,2,0", "from 1 to 65535"),
        ("node1:65536,2,0", "from 1 to 65535"),
        ("node1:80,2,2", "of 2 processes there is no rank 2; RANK is one from 0 to 1"),
        ("node1:80,0,0", "N is 1 or more"),
    ],
)
def test_what_is_wrong_with_it_is_said(started, text, words):
    with pytest.raises(UserError) as caught:
        distributed.join(text)
    assert words in str(caught.value)
    assert f"--distributed={text}" in str(caught.value)
    assert not started


def test_without_a_cluster_nothing_is_started(started):
    assert distributed.cluster() is None
    distributed.join(None)
    assert not started


@pytest.mark.usefixtures("slurm")
def test_a_cluster_is_joined_as_jax_sees_it_unless_the_command_line_says_else(started):
    assert distributed.cluster().name == "slurm"
    distributed.join("off")
    assert not started
    distributed.join(None)
    assert started == [(None, None, None)]  # jax asks the cluster
    distributed.join("node1:80,2,1")
    assert started[1:] == [("node1:80", 2, 1)]


@pytest.mark.usefixtures("slurm")
def test_one_process_alone_starts_nothing(started, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "1")
    distributed.join(None)
    distributed.join("node1:80,1,0")
    assert not started


@pytest.mark.usefixtures("started", "slurm")
def test_a_cluster_that_says_nonsense_is_one_line(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "many")
    with pytest.raises(UserError, match=r"the cluster \(slurm\).*many.*--distributed=off"):
        distributed.join(None)


def test_a_port_in_use_is_one_line(started):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} of this machine cannot be used"):
            distributed.join(f"127.0.0.1:{port},2,0")
        distributed.join(f"127.0.0.1:{port},2,1")  # the port is on another machine
    assert len(started) == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_who_waits_in_vain_ends_with_one_line(rank):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = (
        "from mmjax.cli import distributed; distributed.LONGEST_WAIT = 1; "
        f"distributed.join('127.0.0.1:{port},2,{rank}')"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False, **pipes)
    assert found.returncode == 2, found
    (line,) = found.stderr.splitlines()
    assert f"2,{rank} names several processes, and they do not find each other" in line
    assert "some did not start within 1 s" in line
