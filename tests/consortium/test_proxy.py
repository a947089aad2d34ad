"""Behind a real nginx: TLS by the proxy, a path prefix, and its 60 s idle limit."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.consortium.test_study_over_tls import check_study, join_all
from tests.support.consortium import free_port

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

CONFIGURATION = """
daemon off; pid {home}/nginx.pid; error_log {home}/error.log; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;
  uwsgi_temp_path {home}/u; scgi_temp_path {home}/s; client_max_body_size 64m;
  server {{
    listen 127.0.0.1:{outside} ssl;
    ssl_certificate {lead}/tls.crt; ssl_certificate_key {lead}/tls.key;
    location /hub/ {{ proxy_pass http://127.0.0.1:{inside}{target}; proxy_read_timeout 60s; proxy_http_version 1.1; }}
  }}
}}
"""


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed: the reverse proxy was not tried")
@pytest.mark.parametrize("target", ["", "/"], ids=["prefix-passed-on", "prefix-stripped"])
def test_behind_nginx(make_lab, tmp_path: Path, target: str) -> None:
    lab = make_lab(sites=3, path="/hub", changes={"rounds = 10": "rounds = 2"})
    inside, outside = free_port(), lab.port
    home = tmp_path / "nginx"
    home.mkdir()
    text = CONFIGURATION.format(home=home, outside=outside, inside=inside, lead=lab.home / "lead", target=target)
    (home / "nginx.conf").write_text(text)
    proxy = subprocess.Popen([NGINX, "-c", str(home / "nginx.conf"), "-e", str(home / "error.log")])
    try:
        with lab.coordinator(until_finished=True, listen=inside, tls=False):
            lab.wait_until_up()
            assert len(join_all(lab, lab.sites)) == 3
        check_study(lab, 1)
    finally:
        proxy.terminate()
        proxy.wait(10)
        time.sleep(0.1)
