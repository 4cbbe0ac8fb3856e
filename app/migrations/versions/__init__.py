"""One module a revision; the SQL itself lies beside it in a .sql file."""
