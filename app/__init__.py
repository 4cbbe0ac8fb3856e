"""The procurement application: notice, bid, opening, award, contract, inspection, payment.

It runs the same at every site: it sees one DSN and one environment (app/settings.py), and it imports
nothing of ours outside this package.

What lives where:

- ``award``            the rules of the award, pure and exact (no I/O, no float)
- ``database``         transactions, bounded commits, the third outcome *unknown*
- ``idempotency``      one key, one answer, for ever
- ``tenders``, ``bids``, ``openings``, ``awards``, ``contracts``, ``subcontracts``, ``inspections``,
  ``claims``, ``payments``, ``canary``, ``parties``
                       one domain a file: its SQL and its service functions
- ``operations``       every write and read of the application, as data; the JSON API (``api``), the
  OpenAPI description and the pages (``web``) all come from it
- ``migrations``       raw-SQL migrations, run by ``python -m app migrate``
- ``data``             dated tables: holidays, legal windows, rates, the official sample tender

Domain files know ``database``, ``errors``, ``award`` and the calendars; ``api`` and ``web`` know
``operations``; nothing knows ``api`` or ``web`` but ``factory``.
"""
