-- One server, two databases: what Dagster did, and what MLflow recorded.
CREATE DATABASE dagster;
CREATE DATABASE mlflow;
