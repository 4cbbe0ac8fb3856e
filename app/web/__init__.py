"""The pages: server-rendered, Korean first, working without JavaScript.

They call app/operations.py like the JSON API does; nothing is decided here.
"""
