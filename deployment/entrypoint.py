#!/usr/bin/env python3
"""Turn secrets that come as files into the variables that the services read, then become the service.

NAME_FILE of a secret names a file whose content becomes NAME, as the images of PostgreSQL do it; other variables that
end so (SSL_CERT_FILE) mean something else and stay. With POSTGRES_HOST set, the address of MLflow's database is put
together here, so that no password stands on a command line or in a compose file.
"""

import os
import sys
from pathlib import Path
from urllib.parse import quote

SECRETS = ("POSTGRES_PASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "CDSAPI_KEY", "ENTROPICE_ALERT_URL")


def read_secrets(environment: dict[str, str]) -> dict[str, str]:
    """Add NAME for every NAME_FILE; a missing or empty file ends the start with a sentence."""
    found = dict(environment)
    for secret_name in SECRETS:
        name = f"{secret_name}_FILE"
        path = environment.get(name, "")
        if not path or environment.get(secret_name):
            continue
        file = Path(path)
        try:
            secret = file.read_text(encoding="utf-8").strip() if file.is_file() else ""
        except PermissionError:
            sys.exit(f"{name} names {path}, which user {os.getuid()} may not read: chmod 644 the file of the secret")
        if not secret:
            sys.exit(
                f"{name} names {path}, which is missing or empty: write the secret into it (see docs/deployment.md)"
            )
        found[secret_name] = secret
    return found


def database_address(environment: dict[str, str], database: str) -> str:
    """Write the address of a database; characters of the password that mean something in an address are escaped."""
    user, password = environment["POSTGRES_USER"], quote(environment["POSTGRES_PASSWORD"], safe="")
    place = f"{environment['POSTGRES_HOST']}:{environment.get('POSTGRES_PORT', '5432')}"
    return f"postgresql+psycopg2://{user}:{password}@{place}/{database}"


def main() -> None:
    """Prepare the environment and run the command."""
    if len(sys.argv) < 2:
        sys.exit("entrypoint.py COMMAND …: no command was given")
    environment = read_secrets(dict(os.environ))
    if "POSTGRES_HOST" in environment:
        environment.setdefault("MLFLOW_BACKEND_STORE_URI", database_address(environment, "mlflow"))
    os.execvpe(sys.argv[1], sys.argv[1:], environment)  # noqa: S606


if __name__ == "__main__":
    main()
