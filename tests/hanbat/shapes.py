"""The topologies that every part must carry, as text of `sites.yml`."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = (ROOT / "sites.yml").read_text(encoding="utf-8")

TWO_AND_TWO = """\
cluster: two-two
sites:
  - name: daejeon
    role: primary
    capacity: 100
    subnet: 10.71.1.0/24
    edge: 10.71.1.100
    hosts:
      - {name: dj-db1, address: 10.71.1.11, roles: [db, etcd]}
      - {name: dj-db2, address: 10.71.1.12, roles: [db]}
      - {name: dj-app1, address: 10.71.1.21, roles: [app]}
  - name: gyeonggi
    role: backup
    capacity: 50
    subnet: 10.71.2.0/24
    edge: 10.71.2.100
    hosts:
      - {name: gg-db1, address: 10.71.2.11, roles: [db, etcd]}
      - {name: gg-db2, address: 10.71.2.12, roles: [db]}
      - {name: gg-app1, address: 10.71.2.21, roles: [app]}
  - name: sejong
    role: witness
    capacity: 0
    subnet: 10.71.3.0/24
    hosts:
      - {name: sj-wt1, address: 10.71.3.11, roles: [etcd]}
"""

THREE_AND_TWO = """\
cluster: three-two
sites:
  - name: daejeon
    role: primary
    capacity: 100
    subnet: 10.71.1.0/24
    edge: 10.71.1.100
    hosts:
      - {name: dj-db1, address: 10.71.1.11, roles: [db, etcd]}
      - {name: dj-db2, address: 10.71.1.12, roles: [db, etcd]}
      - {name: dj-db3, address: 10.71.1.13, roles: [db]}
      - {name: dj-app1, address: 10.71.1.21, roles: [app]}
      - {name: dj-app2, address: 10.71.1.22, roles: [app]}
  - name: gyeonggi
    role: backup
    capacity: 60
    subnet: 10.71.2.0/24
    edge: 10.71.2.100
    hosts:
      - {name: gg-db1, address: 10.71.2.11, roles: [db, etcd]}
      - {name: gg-db2, address: 10.71.2.12, roles: [db, etcd]}
      - {name: gg-app1, address: 10.71.2.21, roles: [app]}
  - name: sejong
    role: witness
    capacity: 0
    subnet: 10.71.3.0/24
    hosts:
      - {name: sj-wt1, address: 10.71.3.11, roles: [etcd]}
"""

SMALLEST = """\
cluster: smallest
sites:
  - name: daejeon
    role: primary
    capacity: 100
    subnet: 10.71.1.0/24
    edge: 10.71.1.100
    hosts:
      - {name: dj-all1, address: 10.71.1.11, roles: [db, etcd, app]}
  - name: gyeonggi
    role: backup
    capacity: 50
    subnet: 10.71.2.0/24
    edge: 10.71.2.100
    hosts:
      - {name: gg-all1, address: 10.71.2.11, roles: [db, etcd, app]}
  - name: sejong
    role: witness
    capacity: 0
    subnet: 10.71.3.0/24
    hosts:
      - {name: sj-wt1, address: 10.71.3.11, roles: [etcd]}
"""

SHAPES = {
    "reference": REFERENCE,
    "two_and_two": TWO_AND_TWO,
    "three_and_two": THREE_AND_TWO,
    "smallest": SMALLEST,
}
