"""The JSON API: one blueprint made from app/operations.py, and its OpenAPI description."""
