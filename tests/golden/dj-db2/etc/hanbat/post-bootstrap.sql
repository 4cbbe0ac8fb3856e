-- Rendered by hanbat from sites.yml and replication/templates/post-bootstrap.sql.j2: change those, not this file.
-- Roles and the database of the application, made once on the first primary.
-- Passwords stay out of the server's log, and a login costs its client little (replication/scram.py).
SET log_statement TO none;
SET log_min_duration_statement TO -1;
SET log_min_error_statement TO panic;
CREATE ROLE procurement_owner LOGIN PASSWORD 'SCRAM-SHA-256$32:xA8vgl2FSWQ+cxGtEUmUOg==$krMObmLnxIrKCDMUxSiG9e+p5+aPUsZGvuJ2OURTuWc=:M1kHdGYCKIqmxredhxg0rOY4gi4D8qNztNeziwbunug=';
CREATE ROLE procurement_app LOGIN PASSWORD 'SCRAM-SHA-256$32:TwDH5vnsbZQm49ew2HT+gw==$gkd/VtluuqZQvLz4aPinuWsw8r9jhYI/mGdtF3qYUc0=:300FNThrOR2HzDmmie6Pv+uXuGSNH2YFAT3V1dmQa3w=';
CREATE DATABASE procurement OWNER procurement_owner;
REVOKE ALL ON DATABASE procurement FROM PUBLIC;
GRANT CONNECT ON DATABASE procurement TO procurement_app;
-- The controllers' observers: they read positions, and commit an empty message to see that it can be done.
CREATE ROLE hanbat_observer LOGIN PASSWORD 'SCRAM-SHA-256$32:jyYkmu2mxu2TccnwIra5xw==$t6QKHIcSFx3/1HEgwMvGkJXnKghyePbsOXbDj/73/LQ=:0EazJghL4r8nojkQSbdvMTfzRriFMpPZaD7RjXFye2Y=';
GRANT pg_monitor TO hanbat_observer;
-- A switchover asks for a checkpoint before it holds the poolers, so that the old primary stops at once.
GRANT pg_checkpoint TO hanbat_observer;
