-- Rendered by hanbat from sites.yml and replication/templates/post-bootstrap.sql.j2: change those, not this file.
-- Roles and the database of the application, made once on the first primary.
-- Passwords stay out of the server's log.
SET log_statement TO none;
SET log_min_duration_statement TO -1;
SET log_min_error_statement TO panic;
CREATE ROLE procurement_owner LOGIN PASSWORD 'fixed-app-owner';
CREATE ROLE procurement_app LOGIN PASSWORD 'fixed-app-service';
CREATE DATABASE procurement OWNER procurement_owner;
REVOKE ALL ON DATABASE procurement FROM PUBLIC;
GRANT CONNECT ON DATABASE procurement TO procurement_app;
-- The controllers' observers: they read positions, and commit an empty message to see that it can be done.
CREATE ROLE hanbat_observer LOGIN PASSWORD 'fixed-observer';
GRANT pg_monitor TO hanbat_observer;
-- A switchover asks for a checkpoint before it holds the poolers, so that the old primary stops at once.
GRANT pg_checkpoint TO hanbat_observer;
